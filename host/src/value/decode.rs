//! From JSON to values: one function per shape, along the type.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;

use super::json::{Kind, Reader, Syntax, is_integer};
use super::wit::Wit;

/// Why a text does not give a value of its type, in one sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub(super) String);

impl From<Syntax> for Refused {
    fn from(error: Syntax) -> Self {
        Self(error.to_string())
    }
}

/// Where a value stands in the arguments, such as `order.items[3].price`.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    before: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) fn root(name: &'a str) -> Self {
        Self { before: None, step: Step::Name(name) }
    }

    pub(super) fn name(&'a self, name: &'a str) -> Self {
        Self { before: Some(self), step: Step::Name(name) }
    }

    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { before: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(before) = self.before {
            write!(f, "{before}")?;
        }
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Name(name) if self.before.is_some() => write!(f, ".{name}"),
            Step::Name(name) => f.write_str(name),
        }
    }
}

/// Reads the next value as `ty`.
pub(super) fn decode(reader: &mut Reader<'_>, ty: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    match ty {
        Wit::Bool => {
            expect(reader, Kind::Bool, ty, path)?;
            Ok(Val::Bool(reader.boolean()?))
        }
        Wit::S8 => integer(reader, ty, path, Val::S8),
        Wit::U8 => integer(reader, ty, path, Val::U8),
        Wit::S16 => integer(reader, ty, path, Val::S16),
        Wit::U16 => integer(reader, ty, path, Val::U16),
        Wit::S32 => integer(reader, ty, path, Val::S32),
        Wit::U32 => integer(reader, ty, path, Val::U32),
        Wit::S64 => integer(reader, ty, path, Val::S64),
        Wit::U64 => integer(reader, ty, path, Val::U64),
        Wit::F32 => float(reader, ty, path, |text| text.parse().ok().filter(|f: &f32| f.is_finite()).map(Val::Float32)),
        Wit::F64 => float(reader, ty, path, |text| text.parse().ok().filter(|f: &f64| f.is_finite()).map(Val::Float64)),
        Wit::Char => character(reader, ty, path),
        Wit::String => Ok(Val::String(text(reader, ty, path)?.into_owned())),
        Wit::Bytes => bytes(reader, ty, path),
        Wit::List(item) => list(reader, ty, item, path),
        Wit::Tuple(types) => tuple(reader, ty, types, path),
        Wit::Record(fields) => record(reader, ty, fields, path),
        Wit::Option(some) => option(reader, ty, some, path),
        Wit::Variant(cases) => variant(reader, ty, cases, path),
        Wit::Enum(names) => {
            let name = text(reader, ty, path)?;
            one_of(&name, names, ty, path).map(Val::Enum)
        }
        Wit::Flags(names) => flags(reader, ty, names, path),
        Wit::Result(ok, err) => result(reader, ty, ok.as_deref(), err.as_deref(), path),
    }
}

/// `by: expected u64, found string "x"`.
fn mismatch(reader: &mut Reader<'_>, ty: &Wit, path: &Path<'_>) -> Refused {
    refuse(ty, path, "", &reader.found())
}

fn refuse(ty: &Wit, path: &Path<'_>, note: &str, found: &str) -> Refused {
    Refused(format!("{path}: expected {ty}{note}, found {found}"))
}

fn expect(reader: &mut Reader<'_>, kind: Kind, ty: &Wit, path: &Path<'_>) -> Result<(), Refused> {
    if reader.kind() == kind { Ok(()) } else { Err(mismatch(reader, ty, path)) }
}

fn text<'a>(reader: &mut Reader<'a>, ty: &Wit, path: &Path<'_>) -> Result<std::borrow::Cow<'a, str>, Refused> {
    expect(reader, Kind::String, ty, path)?;
    Ok(reader.string()?)
}

/// An integer by its digits alone, so that none is lost; 64-bit ones also from a string, for languages whose numbers
/// are doubles.
fn integer<T: std::str::FromStr + Bounds>(
    reader: &mut Reader<'_>,
    ty: &Wit,
    path: &Path<'_>,
    make: fn(T) -> Val,
) -> Result<Val, Refused> {
    let here = reader.mark();
    let digits = match reader.kind() {
        Kind::Number => reader.number()?.into(),
        Kind::String if T::WIDE => reader.string()?,
        _ => return Err(mismatch(reader, ty, path)),
    };
    if !is_integer(&digits) {
        return Err(refuse(ty, path, "", &reader.found_at(here)));
    }
    let range = || format!(" ({} to {})", T::LEAST, T::MOST);
    digits.parse().map(make).map_err(|_| refuse(ty, path, &range(), &reader.found_at(here)))
}

/// What an error says about a range that was left.
trait Bounds {
    const LEAST: i64;
    const MOST: u64;
    /// 64 bits, more than a double can hold.
    const WIDE: bool;
}

macro_rules! bounds {
    ($($int:ty)*) => {
        $(impl Bounds for $int {
            #[allow(clippy::cast_lossless, clippy::cast_possible_wrap, reason = "generic over every integer type")]
            const LEAST: i64 = <$int>::MIN as i64;
            #[allow(clippy::cast_lossless, clippy::cast_sign_loss, reason = "the greatest value is positive")]
            const MOST: u64 = <$int>::MAX as u64;
            const WIDE: bool = <$int>::BITS == 64;
        })*
    };
}

bounds!(i8 u8 i16 u16 i32 u32 i64 u64);

fn float(
    reader: &mut Reader<'_>,
    ty: &Wit,
    path: &Path<'_>,
    parse: fn(&str) -> Option<Val>,
) -> Result<Val, Refused> {
    expect(reader, Kind::Number, ty, path)?;
    let here = reader.mark();
    parse(reader.number()?).ok_or_else(|| refuse(ty, path, " within its range", &reader.found_at(here)))
}

fn character(reader: &mut Reader<'_>, ty: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    let here = reader.mark();
    let text = text(reader, ty, path)?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Ok(Val::Char(only)),
        _ => Err(refuse(ty, path, " (a string of one character)", &reader.found_at(here))),
    }
}

fn bytes(reader: &mut Reader<'_>, ty: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    let here = reader.mark();
    if reader.kind() != Kind::String {
        return Err(refuse(ty, path, " as base64 text", &reader.found()));
    }
    match STANDARD.decode(reader.string()?.as_bytes()) {
        Ok(bytes) => Ok(bytes_val(&bytes)),
        Err(error) => {
            Err(refuse(ty, path, " as base64 text", &format!("{} ({error})", reader.found_at(here))))
        }
    }
}

/// The value of a `list<u8>`.
pub(super) fn bytes_val(bytes: &[u8]) -> Val {
    Val::List(bytes.iter().copied().map(Val::U8).collect())
}

fn list(reader: &mut Reader<'_>, ty: &Wit, item: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    let mut items = Vec::new();
    let mut first = true;
    while reader.item(&mut first, b']')? {
        items.push(decode(reader, item, &path.index(items.len()))?);
    }
    Ok(Val::List(items))
}

fn tuple(reader: &mut Reader<'_>, ty: &Wit, types: &[Wit], path: &Path<'_>) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    let mut items = Vec::with_capacity(types.len());
    let mut first = true;
    while reader.item(&mut first, b']')? {
        let item = types.get(items.len()).ok_or_else(|| refuse(ty, path, "", "more items than that"))?;
        items.push(decode(reader, item, &path.index(items.len()))?);
    }
    if items.len() < types.len() {
        return Err(refuse(ty, path, "", &format!("only {} items", items.len())));
    }
    Ok(Val::Tuple(items))
}

fn record(reader: &mut Reader<'_>, ty: &Wit, fields: &[(String, Wit)], path: &Path<'_>) -> Result<Val, Refused> {
    expect(reader, Kind::Object, ty, path)?;
    let values = members(reader, fields, Some(path), "field")?;
    let named = fields.iter().zip(values).map(|((name, _), value)| (name.clone(), value));
    Ok(Val::Record(named.collect()))
}

/// Reads an object's members by `fields`, in whatever order they come, and gives their values in the order of
/// `fields`. An option may be left out; everything else must be there, once, and nothing else. At the top there is no
/// path: then `what` is an argument.
pub(super) fn members(
    reader: &mut Reader<'_>,
    fields: &[(String, Wit)],
    path: Option<&Path<'_>>,
    what: &str,
) -> Result<Vec<Val>, Refused> {
    let at = |name: &str| path.map_or_else(|| name.to_owned(), |path| path.name(name).to_string());
    let mut values: Vec<Option<Val>> = fields.iter().map(|_| None).collect();
    reader.open(b'{')?;
    let mut first = true;
    while reader.item(&mut first, b'}')? {
        let name = reader.name()?;
        let Some(index) = fields.iter().position(|(known, _)| *known == name) else {
            return Err(Refused(format!("{}: unknown {what}, {}", at(&name), expected_names(fields))));
        };
        if values[index].is_some() {
            return Err(Refused(format!("{}: given twice", at(&name))));
        }
        let inner = path.map_or_else(|| Path::root(&fields[index].0), |path| path.name(&fields[index].0));
        values[index] = Some(decode(reader, &fields[index].1, &inner)?);
    }
    let complete = fields.iter().zip(values).map(|((name, ty), value)| match value {
        Some(value) => Ok(value),
        None if ty.is_option() => Ok(Val::Option(None)),
        None => Err(Refused(format!("{}: missing, expected {ty}", at(name)))),
    });
    complete.collect()
}

fn expected_names(fields: &[(String, Wit)]) -> String {
    let names: Vec<_> = fields.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
    if names.is_empty() { "expected none".into() } else { format!("expected {}", names.join(", ")) }
}

/// `null` or the value; where the value is itself an option, `{"some": ...}` tells a present none from an absent one.
fn option(reader: &mut Reader<'_>, ty: &Wit, some: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    if reader.kind() == Kind::Null {
        reader.null()?;
        return Ok(Val::Option(None));
    }
    if !some.is_option() {
        return Ok(Val::Option(Some(Box::new(decode(reader, some, path)?))));
    }
    let (_, value) = single(reader, ty, path, " as null or {\"some\": ...}", |name| {
        (name == "some").then_some((0, Some(some)))
    })?;
    Ok(Val::Option(value))
}

fn variant(
    reader: &mut Reader<'_>,
    ty: &Wit,
    cases: &[(String, Option<Wit>)],
    path: &Path<'_>,
) -> Result<Val, Refused> {
    let find = |name: &str| cases.iter().position(|(known, _)| known == name);
    if reader.kind() == Kind::String {
        let here = reader.mark();
        let name = reader.string()?;
        return match find(&name).map(|at| &cases[at]) {
            Some((name, None)) => Ok(Val::Variant(name.clone(), None)),
            Some(_) => Err(refuse(ty, path, "", &format!("{} without its payload", reader.found_at(here)))),
            None => Err(refuse(ty, path, "", &reader.found_at(here))),
        };
    }
    let (at, value) = single(reader, ty, path, "", |name| find(name).map(|at| (at, cases[at].1.as_ref())))?;
    Ok(Val::Variant(cases[at].0.clone(), value))
}

fn result(
    reader: &mut Reader<'_>,
    ty: &Wit,
    ok: Option<&Wit>,
    err: Option<&Wit>,
    path: &Path<'_>,
) -> Result<Val, Refused> {
    let (at, value) = single(reader, ty, path, " as {\"ok\": ...} or {\"err\": ...}", |name| match name {
        "ok" => Some((0, ok)),
        "err" => Some((1, err)),
        _ => None,
    })?;
    Ok(Val::Result(if at == 0 { Ok(value) } else { Err(value) }))
}

/// An object with exactly one member, which names a case. `case` gives the case's number and payload type; a case
/// without a payload takes `null`.
fn single<'t>(
    reader: &mut Reader<'_>,
    ty: &Wit,
    path: &Path<'_>,
    note: &str,
    case: impl Fn(&str) -> Option<(usize, Option<&'t Wit>)>,
) -> Result<(usize, Option<Box<Val>>), Refused> {
    if reader.kind() != Kind::Object {
        return Err(refuse(ty, path, note, &reader.found()));
    }
    reader.open(b'{')?;
    let mut first = true;
    if !reader.item(&mut first, b'}')? {
        return Err(refuse(ty, path, note, "an empty object"));
    }
    let name = reader.name()?;
    let Some((number, payload)) = case(&name) else {
        return Err(refuse(ty, path, note, &format!("the case {name:?}")));
    };
    let inner = path.name(&name);
    let value = match payload {
        Some(payload) => Some(Box::new(decode(reader, payload, &inner)?)),
        None if reader.kind() == Kind::Null => {
            reader.null()?;
            None
        }
        None => return Err(Refused(format!("{inner}: expected null, found {}", reader.found()))),
    };
    if reader.item(&mut first, b'}')? {
        return Err(refuse(ty, path, note, "an object with more than one member"));
    }
    Ok((number, value))
}

fn one_of(name: &str, names: &[String], ty: &Wit, path: &Path<'_>) -> Result<String, Refused> {
    names.iter().find(|known| *known == name).cloned().ok_or_else(|| refuse(ty, path, "", &format!("string {name:?}")))
}

fn flags(reader: &mut Reader<'_>, ty: &Wit, names: &[String], path: &Path<'_>) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    let mut set: Vec<String> = Vec::new();
    let mut first = true;
    let mut index = 0;
    while reader.item(&mut first, b']')? {
        let here = path.index(index);
        let name = text(reader, &Wit::String, &here)?;
        let flag = one_of(&name, names, ty, &here)?;
        if !set.contains(&flag) {
            set.push(flag);
        }
        index += 1;
    }
    Ok(Val::Flags(set))
}
