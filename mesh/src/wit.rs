//! The types of methods, as the catalog keeps them: written out as WIT writes them, with every type that WIT names in place
//! of its name. Such a text says all that there is to say, so [`Wit::parse`] gives back exactly what [`Wit`]'s `Display`
//! wrote, also from the catalogs of clusters that are older than this reader.

use std::fmt;

/// Types nest so deep at the most. Readers and writers recurse along the type, so this bounds their stacks too.
pub const DEPTH_MAX: usize = 32;

/// A WIT type that has a JSON form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the WIT type of that name")]
pub enum Wit {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`, which is base64 in JSON.
    Bytes,
    List(Box<Wit>),
    Record(Vec<(String, Wit)>),
    Tuple(Vec<Wit>),
    Variant(Vec<(String, Option<Wit>)>),
    Enum(Vec<String>),
    Option(Box<Wit>),
    Result(Option<Box<Wit>>, Option<Box<Wit>>),
    Flags(Vec<String>),
}

/// A text that is no type, from the place on that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a WIT type that is written out, from {0:?} on")]
pub struct NoType(pub String);

impl Wit {
    /// Reads what `Display` wrote.
    ///
    /// # Errors
    /// [`NoType`] for anything else, also for what nests deeper than [`DEPTH_MAX`].
    pub fn parse(text: &str) -> Result<Self, NoType> {
        let mut reader = Reader { rest: text };
        reader.ty(0).filter(|_| reader.rest.is_empty()).ok_or_else(|| NoType(reader.rest.to_owned()))
    }

    /// A value may be left out.
    pub fn is_option(&self) -> bool {
        matches!(self, Self::Option(_))
    }
}

/// Reads a type from front to back; `rest` is what is left.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn ty(&mut self, depth: usize) -> Option<Wit> {
        if depth == DEPTH_MAX {
            return None;
        }
        let before = self.rest;
        let keyword = self.name()?;
        Some(match keyword {
            "bool" => Wit::Bool,
            "s8" => Wit::S8,
            "u8" => Wit::U8,
            "s16" => Wit::S16,
            "u16" => Wit::U16,
            "s32" => Wit::S32,
            "u32" => Wit::U32,
            "s64" => Wit::S64,
            "u64" => Wit::U64,
            "f32" => Wit::F32,
            "f64" => Wit::F64,
            "char" => Wit::Char,
            "string" => Wit::String,
            "list" => match self.angled(depth)? {
                Wit::U8 => Wit::Bytes,
                item => Wit::List(Box::new(item)),
            },
            "option" => Wit::Option(Box::new(self.angled(depth)?)),
            "tuple" => {
                self.eat("<")?;
                Wit::Tuple(self.separated(">", |reader| reader.ty(depth + 1))?)
            }
            "result" => self.result(depth)?,
            "record" => Wit::Record(self.braced(|reader| {
                let name = reader.name()?.to_owned();
                reader.eat(": ")?;
                Some((name, reader.ty(depth + 1)?))
            })?),
            "variant" => Wit::Variant(self.braced(|reader| reader.case(depth))?),
            "enum" => Wit::Enum(self.braced(|reader| reader.name().map(str::to_owned))?),
            "flags" => Wit::Flags(self.braced(|reader| reader.name().map(str::to_owned))?),
            _ => {
                self.rest = before;
                return None;
            }
        })
    }

    fn angled(&mut self, depth: usize) -> Option<Wit> {
        self.eat("<")?;
        let inner = self.ty(depth + 1)?;
        self.eat(">")?;
        Some(inner)
    }

    fn result(&mut self, depth: usize) -> Option<Wit> {
        if self.eat("<").is_none() {
            return Some(Wit::Result(None, None));
        }
        let ok = if self.eat("_").is_some() { None } else { Some(Box::new(self.ty(depth + 1)?)) };
        let err = match self.eat(", ") {
            Some(()) => Some(Box::new(self.ty(depth + 1)?)),
            None => None,
        };
        self.eat(">")?;
        Some(Wit::Result(ok, err))
    }

    fn case(&mut self, depth: usize) -> Option<(String, Option<Wit>)> {
        let name = self.name()?.to_owned();
        if self.eat("(").is_none() {
            return Some((name, None));
        }
        let payload = self.ty(depth + 1)?;
        self.eat(")")?;
        Some((name, Some(payload)))
    }

    fn braced<T>(&mut self, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.eat(" { ")?;
        self.separated(" }", item)
    }

    fn separated<T>(&mut self, close: &str, item: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while self.eat(close).is_none() {
            if !items.is_empty() {
                self.eat(", ")?;
            }
            items.push(item(self)?);
        }
        Some(items)
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn name(&mut self) -> Option<&'a str> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(name).filter(|name| !name.is_empty())
    }
}

/// As WIT writes it; types that WIT names are written out.
impl fmt::Display for Wit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::S8 => f.write_str("s8"),
            Self::U8 => f.write_str("u8"),
            Self::S16 => f.write_str("s16"),
            Self::U16 => f.write_str("u16"),
            Self::S32 => f.write_str("s32"),
            Self::U32 => f.write_str("u32"),
            Self::S64 => f.write_str("s64"),
            Self::U64 => f.write_str("u64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("list<u8>"),
            Self::List(item) => write!(f, "list<{item}>"),
            Self::Option(some) => write!(f, "option<{some}>"),
            Self::Record(fields) => braced(f, "record", fields, |f, (name, ty)| write!(f, "{name}: {ty}")),
            Self::Variant(cases) => braced(f, "variant", cases, |f, (name, ty)| match ty {
                Some(ty) => write!(f, "{name}({ty})"),
                None => f.write_str(name),
            }),
            Self::Enum(names) => braced(f, "enum", names, |f, name| f.write_str(name)),
            Self::Flags(names) => braced(f, "flags", names, |f, name| f.write_str(name)),
            Self::Tuple(types) => {
                f.write_str("tuple<")?;
                separated(f, types, |f, ty| write!(f, "{ty}"))?;
                f.write_str(">")
            }
            Self::Result(None, None) => f.write_str("result"),
            Self::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Self::Result(None, Some(err)) => write!(f, "result<_, {err}>"),
            Self::Result(Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
        }
    }
}

type Write<T> = fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result;

fn braced<T>(f: &mut fmt::Formatter<'_>, keyword: &str, items: &[T], write: Write<T>) -> fmt::Result {
    write!(f, "{keyword} {{ ")?;
    separated(f, items, write)?;
    f.write_str(" }")
}

fn separated<T>(f: &mut fmt::Formatter<'_>, items: &[T], write: Write<T>) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn types() -> impl Strategy<Value = Wit> {
        use Wit::{Bool, Bytes, Char, F32, F64, S8, S16, S32, S64, String, U8, U16, U32, U64};
        let plain = prop::sample::select(vec![
            Bool, S8, U8, S16, U16, S32, U32, S64, U64, F32, F64, Char, String, Bytes,
        ]);
        let names = || prop::collection::vec(name(), 1..4);
        let leaf = prop_oneof![plain, names().prop_map(Wit::Enum), names().prop_map(Wit::Flags)];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let maybe = prop::option::of(inner.clone());
            let boxed = |ty: Wit| Box::new(ty);
            prop_oneof![
                inner
                    .clone()
                    .prop_filter("a list of u8 is Bytes", |ty| *ty != U8)
                    .prop_map(move |ty| Wit::List(boxed(ty))),
                inner.clone().prop_map(move |ty| Wit::Option(boxed(ty))),
                prop::collection::vec(inner.clone(), 1..4).prop_map(Wit::Tuple),
                prop::collection::vec((name(), inner), 1..4).prop_map(Wit::Record),
                prop::collection::vec((name(), maybe.clone()), 1..4).prop_map(Wit::Variant),
                (maybe.clone(), maybe).prop_map(move |(ok, err)| Wit::Result(ok.map(boxed), err.map(boxed))),
            ]
        })
    }

    /// Names as WIT has them, keywords too.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z][a-z0-9]{0,4}(-[a-zA-Z0-9]{1,4}){0,2}",
            Just("record".to_owned()),
            Just("u8".to_owned())
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(ty in types()) {
            prop_assert_eq!(Wit::parse(&ty.to_string()), Ok(ty));
        }

        #[test]
        fn no_text_panics(text in "[a-z0-9<>{}(),:_ -]{0,60}") {
            if let Ok(ty) = Wit::parse(&text) {
                // as long as it does not say list<u8>, it is the one way to write it
                prop_assert_eq!(ty.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_no_type_is_told_from_where_it_goes_wrong() {
        for (text, from) in [
            ("", ""),
            ("point", "point"),
            ("list<point>", "point>"),
            ("u64 ", " "),
            ("list<u64", ""),
            ("tuple<u8,u8>", ",u8>"),
            ("record { x u8 }", " u8 }"),
            ("result<u8, >", ">"),
        ] {
            assert_eq!(Wit::parse(text), Err(NoType(from.to_owned())), "{text}");
        }
    }

    #[test]
    fn types_are_read_as_deep_as_they_may_be_and_no_deeper() {
        let nested = |levels: usize| format!("{}bool{}", "list<".repeat(levels), ">".repeat(levels));
        assert!(Wit::parse(&nested(DEPTH_MAX - 1)).is_ok());
        assert!(Wit::parse(&nested(DEPTH_MAX)).is_err());
        assert!(Wit::parse(&nested(1_000_000)).is_err());
    }
}
