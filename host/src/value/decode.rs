//! From JSON to values: one function per shape, along the type.

mod compound;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;

pub(super) use compound::members;
use compound::{flags, list, one_of, option, record, result, tuple, variant};

use super::json::{Kind, Reader, is_integer};
use super::path::{Path, Refused};
use super::room::ALLOCATION_BYTES;
use super::wit::Wit;

/// What any value takes, beside what it points to.
pub(super) const VALUE_BYTES: usize = size_of::<Val>();

/// Reads the next value as `ty`.
pub(super) fn decode(reader: &mut Reader<'_>, ty: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    reader.take(VALUE_BYTES)?;
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
        Wit::F32 => float(reader, ty, path, |text| {
            text.parse().ok().filter(|f: &f32| f.is_finite()).map(Val::Float32)
        }),
        Wit::F64 => float(reader, ty, path, |text| {
            text.parse().ok().filter(|f: &f64| f.is_finite()).map(Val::Float64)
        }),
        Wit::Char => character(reader, ty, path),
        Wit::String => {
            let text = text(reader, ty, path)?;
            reader.take(text.len() + ALLOCATION_BYTES)?;
            Ok(Val::String(text.into_owned()))
        }
        Wit::Bytes => bytes(reader, ty, path),
        Wit::List(item) => list(reader, ty, item, path),
        Wit::Tuple(types) => tuple(reader, ty, types, path),
        Wit::Record(fields) => record(reader, ty, fields, path),
        Wit::Option(some) => option(reader, ty, some, path),
        Wit::Variant(cases) => variant(reader, ty, cases, path),
        Wit::Enum(names) => {
            let name = text(reader, ty, path)?;
            reader.take(name.len() + ALLOCATION_BYTES)?;
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

fn text<'a>(
    reader: &mut Reader<'a>,
    ty: &Wit,
    path: &Path<'_>,
) -> Result<std::borrow::Cow<'a, str>, Refused> {
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
    let text = reader.string()?;
    reader.take(text.len() / 4 * 3 * VALUE_BYTES)?;
    match STANDARD.decode(text.as_bytes()) {
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
