//! From JSON to values that consist of others.

use wasmtime::component::Val;

use super::super::json::{Kind, Reader};
use super::super::path::{Path, Refused};
use super::super::room::ALLOCATION_BYTES;
use super::super::wit::Wit;
use super::{VALUE_BYTES, decode, expect, refuse, text};

pub(super) fn list(reader: &mut Reader<'_>, ty: &Wit, item: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    let mut items = Vec::new();
    let mut first = true;
    while reader.item(&mut first, b']')? {
        // a list that grows may have twice the places that it needs
        reader.take(VALUE_BYTES)?;
        items.push(decode(reader, item, &path.index(items.len()))?);
    }
    Ok(Val::List(items))
}

pub(super) fn tuple(
    reader: &mut Reader<'_>,
    ty: &Wit,
    types: &[Wit],
    path: &Path<'_>,
) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    reader.take(types.len() * VALUE_BYTES)?;
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

pub(super) fn record(
    reader: &mut Reader<'_>,
    ty: &Wit,
    fields: &[(String, Wit)],
    path: &Path<'_>,
) -> Result<Val, Refused> {
    expect(reader, Kind::Object, ty, path)?;
    // each record has names of its own
    let name_bytes: usize =
        fields.iter().map(|(name, _)| size_of::<String>() + name.len() + ALLOCATION_BYTES).sum();
    reader.take(name_bytes)?;
    let values = members(reader, fields, Some(path), "field")?;
    let named = fields.iter().zip(values).map(|((name, _), value)| (name.clone(), value));
    Ok(Val::Record(named.collect()))
}

/// Reads an object's members by `fields`, in whatever order they come, and gives their values in the order of
/// `fields`. An option may be left out; everything else must be there, once, and nothing else. At the top there is no
/// path: then `what` is an argument.
pub(in crate::value) fn members(
    reader: &mut Reader<'_>,
    fields: &[(String, Wit)],
    path: Option<&Path<'_>>,
    what: &str,
) -> Result<Vec<Val>, Refused> {
    let at = |name: &str| path.map_or_else(|| name.to_owned(), |path| path.name(name).to_string());
    // also for the options that are left out
    reader.take(fields.len() * VALUE_BYTES)?;
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
pub(super) fn option(reader: &mut Reader<'_>, ty: &Wit, some: &Wit, path: &Path<'_>) -> Result<Val, Refused> {
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

pub(super) fn variant(
    reader: &mut Reader<'_>,
    ty: &Wit,
    cases: &[(String, Option<Wit>)],
    path: &Path<'_>,
) -> Result<Val, Refused> {
    let find = |name: &str| cases.iter().position(|(known, _)| known == name);
    if reader.kind() == Kind::String {
        let here = reader.mark();
        let name = reader.string()?;
        reader.take(name.len() + ALLOCATION_BYTES)?;
        return match find(&name).map(|at| &cases[at]) {
            Some((name, None)) => Ok(Val::Variant(name.clone(), None)),
            Some(_) => Err(refuse(ty, path, "", &format!("{} without its payload", reader.found_at(here)))),
            None => Err(refuse(ty, path, "", &reader.found_at(here))),
        };
    }
    let (at, value) = single(reader, ty, path, "", |name| find(name).map(|at| (at, cases[at].1.as_ref())))?;
    Ok(Val::Variant(cases[at].0.clone(), value))
}

pub(super) fn result(
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
    // the case's own name, and the box of its payload
    reader.take(name.len() + 2 * ALLOCATION_BYTES)?;
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

pub(super) fn one_of(name: &str, names: &[String], ty: &Wit, path: &Path<'_>) -> Result<String, Refused> {
    names
        .iter()
        .find(|known| *known == name)
        .cloned()
        .ok_or_else(|| refuse(ty, path, "", &format!("string {name:?}")))
}

pub(super) fn flags(
    reader: &mut Reader<'_>,
    ty: &Wit,
    names: &[String],
    path: &Path<'_>,
) -> Result<Val, Refused> {
    expect(reader, Kind::Array, ty, path)?;
    reader.open(b'[')?;
    let mut set: Vec<String> = Vec::new();
    let mut first = true;
    let mut index = 0;
    while reader.item(&mut first, b']')? {
        let here = path.index(index);
        let name = text(reader, &Wit::String, &here)?;
        let flag = one_of(&name, names, ty, &here)?;
        reader.take(size_of::<String>() + flag.len() + ALLOCATION_BYTES)?;
        if !set.contains(&flag) {
            set.push(flag);
        }
        index += 1;
    }
    Ok(Val::Flags(set))
}
