//! From values to JSON, along the type. The type decides where the value alone does not: bytes and options.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wasmtime::component::Val;

use super::path::Path;
use super::wit::Wit;

/// Why a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwritable {
    /// NaN or an infinity.
    #[error("{0}: {1} has no JSON form")]
    NotFinite(String, String),
    /// The engine gave a value that is not of the function's own type: a bug.
    #[error("{0}: the value is not of type {1}")]
    Mismatch(String, String),
}

/// Appends `value`, which is of type `ty`, to `out`.
pub(super) fn encode(value: &Val, ty: &Wit, out: &mut Vec<u8>, path: &Path<'_>) -> Result<(), Unwritable> {
    match (value, ty) {
        (Val::Bool(true), Wit::Bool) => out.extend_from_slice(b"true"),
        (Val::Bool(false), Wit::Bool) => out.extend_from_slice(b"false"),
        (Val::S8(n), Wit::S8) => json(out, n),
        (Val::U8(n), Wit::U8) => json(out, n),
        (Val::S16(n), Wit::S16) => json(out, n),
        (Val::U16(n), Wit::U16) => json(out, n),
        (Val::S32(n), Wit::S32) => json(out, n),
        (Val::U32(n), Wit::U32) => json(out, n),
        (Val::S64(n), Wit::S64) => json(out, n),
        (Val::U64(n), Wit::U64) => json(out, n),
        (Val::Float32(f), Wit::F32) if f.is_finite() => json(out, f),
        (Val::Float64(f), Wit::F64) if f.is_finite() => json(out, f),
        (Val::Float32(f), Wit::F32) => return Err(Unwritable::NotFinite(path.to_string(), f.to_string())),
        (Val::Float64(f), Wit::F64) => return Err(Unwritable::NotFinite(path.to_string(), f.to_string())),
        (Val::Char(c), Wit::Char) => json(out, c),
        (Val::String(text), Wit::String) => json(out, text),
        (Val::Enum(name), Wit::Enum(_)) => json(out, name),
        (Val::Flags(names), Wit::Flags(_)) => json(out, names),
        (Val::List(items), Wit::Bytes) => base64(items, out).ok_or_else(|| mismatch(ty, path))?,
        (Val::List(items), Wit::List(item)) => {
            array(items.iter().map(|value| (value, &**item)), out, path)?;
        }
        (Val::Tuple(items), Wit::Tuple(types)) if items.len() == types.len() => {
            array(items.iter().zip(types), out, path)?;
        }
        (Val::Record(values), Wit::Record(fields)) if values.len() == fields.len() => {
            record(values, fields, out, path)?;
        }
        (Val::Option(value), Wit::Option(some)) => option(value.as_deref(), some, out, path)?,
        (Val::Variant(name, value), Wit::Variant(cases)) => {
            let case = cases.iter().find(|(known, _)| known == name).ok_or_else(|| mismatch(ty, path))?;
            match (value, &case.1) {
                (None, None) => json(out, name),
                (value, payload) => member(name, value.as_deref(), payload.as_ref(), ty, out, path)?,
            }
        }
        (Val::Result(Ok(value)), Wit::Result(ok, _)) => {
            member("ok", value.as_deref(), ok.as_deref(), ty, out, path)?;
        }
        (Val::Result(Err(value)), Wit::Result(_, err)) => {
            member("err", value.as_deref(), err.as_deref(), ty, out, path)?;
        }
        _ => return Err(mismatch(ty, path)),
    }
    Ok(())
}

fn mismatch(ty: &Wit, path: &Path<'_>) -> Unwritable {
    Unwritable::Mismatch(path.to_string(), ty.to_string())
}

/// Appends what serde writes: for these plain types that cannot fail.
fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "numbers, strings and lists of strings always have a JSON form");
}

/// The bytes of a `list<u8>`; `None` when some item is no byte.
pub(crate) fn bytes_of(items: &[Val]) -> Option<Vec<u8>> {
    items.iter().map(|item| if let Val::U8(byte) = item { Some(*byte) } else { None }).collect()
}

fn base64(items: &[Val], out: &mut Vec<u8>) -> Option<()> {
    base64_bytes(&bytes_of(items)?, out);
    Some(())
}

/// Appends `bytes` as a base64 string.
pub(super) fn base64_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

fn array<'v>(
    items: impl Iterator<Item = (&'v Val, &'v Wit)>,
    out: &mut Vec<u8>,
    path: &Path<'_>,
) -> Result<(), Unwritable> {
    out.push(b'[');
    for (index, (value, ty)) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode(value, ty, out, &path.index(index))?;
    }
    out.push(b']');
    Ok(())
}

fn record(
    values: &[(String, Val)],
    fields: &[(String, Wit)],
    out: &mut Vec<u8>,
    path: &Path<'_>,
) -> Result<(), Unwritable> {
    out.push(b'{');
    for (index, ((name, value), (_, ty))) in values.iter().zip(fields).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json(out, name);
        out.push(b':');
        encode(value, ty, out, &path.name(name))?;
    }
    out.push(b'}');
    Ok(())
}

fn option(value: Option<&Val>, some: &Wit, out: &mut Vec<u8>, path: &Path<'_>) -> Result<(), Unwritable> {
    match value {
        None => out.extend_from_slice(b"null"),
        Some(value) if some.is_option() => {
            out.extend_from_slice(b"{\"some\":");
            encode(value, some, out, path)?;
            out.push(b'}');
        }
        Some(value) => encode(value, some, out, path)?,
    }
    Ok(())
}

/// `{"name": value}`, with `null` for a case without a payload.
fn member(
    name: &str,
    value: Option<&Val>,
    payload: Option<&Wit>,
    ty: &Wit,
    out: &mut Vec<u8>,
    path: &Path<'_>,
) -> Result<(), Unwritable> {
    out.push(b'{');
    json(out, name);
    out.push(b':');
    match (value, payload) {
        (None, None) => out.extend_from_slice(b"null"),
        (Some(value), Some(payload)) => encode(value, payload, out, &path.name(name))?,
        _ => return Err(mismatch(ty, path)),
    }
    out.push(b'}');
    Ok(())
}
