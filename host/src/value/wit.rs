//! A component's types in a form of our own: taken over once per component, bounded, and free of the engine. The form
//! itself is the mesh's, because the catalog tells it to everybody.

pub(crate) use oprc_mesh::wit::{DEPTH_MAX, Wit};
use wasmtime::component::Type;

/// Types that one signature may consist of, counted as written out. Types share parts, so a small component could
/// otherwise spell one that fills all memory.
pub(crate) const NODES_MAX: usize = 2_000;

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

/// Takes over `ty`. `budget` counts down the parts that the signature may still have.
///
/// # Errors
/// [`Unsupported`] says which part has no JSON form or is too large.
pub(crate) fn take_over(ty: &Type, budget: &mut usize) -> Result<Wit, Unsupported> {
    at(ty, budget, 0)
}

fn at(ty: &Type, budget: &mut usize, depth: usize) -> Result<Wit, Unsupported> {
    if depth == DEPTH_MAX {
        return Err(Unsupported::TooDeep);
    }
    *budget = budget.checked_sub(1).ok_or(Unsupported::TooLarge)?;
    let mut inner = |ty: &Type| at(ty, budget, depth + 1);
    let mut boxed = |ty: Option<Type>| ty.map(|ty| inner(&ty).map(Box::new)).transpose();
    Ok(match ty {
        Type::Bool => Wit::Bool,
        Type::S8 => Wit::S8,
        Type::U8 => Wit::U8,
        Type::S16 => Wit::S16,
        Type::U16 => Wit::U16,
        Type::S32 => Wit::S32,
        Type::U32 => Wit::U32,
        Type::S64 => Wit::S64,
        Type::U64 => Wit::U64,
        Type::Float32 => Wit::F32,
        Type::Float64 => Wit::F64,
        Type::Char => Wit::Char,
        Type::String => Wit::String,
        Type::List(list) if list.ty() == Type::U8 => Wit::Bytes,
        Type::List(list) => Wit::List(Box::new(inner(&list.ty())?)),
        Type::Record(record) => {
            let fields = record.fields().map(|field| Ok((field.name.to_owned(), inner(&field.ty)?)));
            Wit::Record(fields.collect::<Result<_, _>>()?)
        }
        Type::Tuple(tuple) => Wit::Tuple(tuple.types().map(|ty| inner(&ty)).collect::<Result<_, _>>()?),
        Type::Variant(variant) => {
            let cases = variant
                .cases()
                .map(|case| Ok((case.name.to_owned(), case.ty.map(|ty| inner(&ty)).transpose()?)));
            Wit::Variant(cases.collect::<Result<_, _>>()?)
        }
        Type::Enum(names) => Wit::Enum(names.names().map(str::to_owned).collect()),
        Type::Option(option) => Wit::Option(Box::new(inner(&option.ty())?)),
        Type::Result(result) => Wit::Result(boxed(result.ok())?, boxed(result.err())?),
        Type::Flags(names) => Wit::Flags(names.names().map(str::to_owned).collect()),
        Type::Own(_) | Type::Borrow(_) => return Err(Unsupported::Resource),
        Type::Future(_) => return Err(Unsupported::Kind("a future")),
        Type::Stream(_) => return Err(Unsupported::Kind("a stream")),
        Type::ErrorContext => return Err(Unsupported::Kind("an error-context")),
        Type::Map(_) => return Err(Unsupported::Kind("a map")),
        Type::FixedLengthList(_) => return Err(Unsupported::Kind("a list of fixed length")),
    })
}
