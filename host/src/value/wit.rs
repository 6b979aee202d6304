//! A component's types in a form of our own: taken over once per component, bounded, printable, and free of the engine.

use std::fmt;

use wasmtime::component::Type;

/// Types nest so deep at the most. The codec recurses along the type, so this bounds its stack too.
pub(crate) const DEPTH_MAX: usize = 32;
/// Types that one signature may consist of, counted as written out. Types share parts, so a small component could
/// otherwise spell one that fills all memory.
pub(crate) const NODES_MAX: usize = 2_000;

/// A WIT type that has a JSON form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the WIT type of that name")]
pub(crate) enum Wit {
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

/// Why a type cannot be part of a method. Its `Display` completes "takes or gives ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsupported {
    /// Handles mean something inside one instance only, and every turn has its own.
    #[error("a resource, and a handle cannot leave its turn")]
    Resource,
    /// Of the asynchronous component model.
    #[error("{0}, which is not supported")]
    Kind(&'static str),
    /// See [`DEPTH_MAX`].
    #[error("a type nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// See [`NODES_MAX`].
    #[error("types of more than {NODES_MAX} parts")]
    TooLarge,
}

impl Wit {
    /// Takes over `ty`. `budget` counts down the parts that the signature may still have.
    ///
    /// # Errors
    /// [`Unsupported`] says which part has no JSON form or is too large.
    pub(crate) fn of(ty: &Type, budget: &mut usize) -> Result<Self, Unsupported> {
        Self::at(ty, budget, 0)
    }

    fn at(ty: &Type, budget: &mut usize, depth: usize) -> Result<Self, Unsupported> {
        if depth == DEPTH_MAX {
            return Err(Unsupported::TooDeep);
        }
        *budget = budget.checked_sub(1).ok_or(Unsupported::TooLarge)?;
        let mut inner = |ty: &Type| Self::at(ty, budget, depth + 1);
        let mut boxed = |ty: Option<Type>| ty.map(|ty| inner(&ty).map(Box::new)).transpose();
        Ok(match ty {
            Type::Bool => Self::Bool,
            Type::S8 => Self::S8,
            Type::U8 => Self::U8,
            Type::S16 => Self::S16,
            Type::U16 => Self::U16,
            Type::S32 => Self::S32,
            Type::U32 => Self::U32,
            Type::S64 => Self::S64,
            Type::U64 => Self::U64,
            Type::Float32 => Self::F32,
            Type::Float64 => Self::F64,
            Type::Char => Self::Char,
            Type::String => Self::String,
            Type::List(list) if list.ty() == Type::U8 => Self::Bytes,
            Type::List(list) => Self::List(Box::new(inner(&list.ty())?)),
            Type::Record(record) => {
                let fields = record.fields().map(|field| Ok((field.name.to_owned(), inner(&field.ty)?)));
                Self::Record(fields.collect::<Result<_, _>>()?)
            }
            Type::Tuple(tuple) => Self::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?),
            Type::Variant(variant) => {
                let cases = variant
                    .cases()
                    .map(|case| Ok((case.name.to_owned(), case.ty.map(|ty| inner(&ty)).transpose()?)));
                Self::Variant(cases.collect::<Result<_, _>>()?)
            }
            Type::Enum(names) => Self::Enum(names.names().map(str::to_owned).collect()),
            Type::Option(option) => Self::Option(Box::new(inner(&option.ty())?)),
            Type::Result(result) => Self::Result(boxed(result.ok())?, boxed(result.err())?),
            Type::Flags(names) => Self::Flags(names.names().map(str::to_owned).collect()),
            Type::Own(_) | Type::Borrow(_) => return Err(Unsupported::Resource),
            Type::Future(_) => return Err(Unsupported::Kind("a future")),
            Type::Stream(_) => return Err(Unsupported::Kind("a stream")),
            Type::ErrorContext => return Err(Unsupported::Kind("an error-context")),
            Type::Map(_) => return Err(Unsupported::Kind("a map")),
            Type::FixedLengthList(_) => return Err(Unsupported::Kind("a list of fixed length")),
        })
    }

    /// A value may be left out.
    pub(super) fn is_option(&self) -> bool {
        matches!(self, Self::Option(_))
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
