//! The mapping by property: round trips of every type, and the reader against others'.

use proptest::prelude::*;
use wasmtime::component::Val;

use super::super::encode::encode;
use super::super::json::{Kind, Reader, is_json};
use super::super::path::Path;
use super::super::wit::Wit;
use super::{option, read};

/// Types and values of them.
fn typed() -> impl Strategy<Value = (Wit, Val)> {
    types().prop_flat_map(|ty| {
        let value = values(&ty);
        (Just(ty), value)
    })
}

fn types() -> impl Strategy<Value = Wit> {
    use Wit::{Bool, Bytes, Char, F32, F64, S8, S16, S32, S64, String, U8, U16, U32, U64};
    let plain = prop::sample::select(vec![
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
        Bytes,
        Wit::Enum(vec!["a".into(), "b-c".into()]),
        Wit::Flags(vec!["r".into(), "w".into(), "x".into()]),
    ]);
    plain.prop_recursive(3, 12, 3, |inner| {
        let maybe = prop::option::of(inner.clone());
        prop_oneof![
            inner
                .clone()
                .prop_filter("a list of u8 is Bytes", |ty| *ty != U8)
                .prop_map(|ty| Wit::List(Box::new(ty))),
            inner.clone().prop_map(option),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Wit::Tuple),
            prop::collection::vec(inner, 1..4).prop_map(|types| Wit::Record(named(types))),
            prop::collection::vec(maybe.clone(), 1..4).prop_map(|types| Wit::Variant(named(types))),
            (maybe.clone(), maybe).prop_map(|(ok, err)| Wit::Result(ok.map(Box::new), err.map(Box::new))),
        ]
    })
}

fn named<T>(items: Vec<T>) -> Vec<(String, T)> {
    items.into_iter().enumerate().map(|(at, item)| (format!("n-{at}"), item)).collect()
}

fn values(ty: &Wit) -> BoxedStrategy<Val> {
    match ty {
        Wit::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Wit::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Wit::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Wit::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Wit::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Wit::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Wit::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Wit::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Wit::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Wit::F32 => any::<f32>().prop_map(Val::Float32).boxed(),
        Wit::F64 => any::<f64>().prop_map(Val::Float64).boxed(),
        Wit::Char => any::<char>().prop_map(Val::Char).boxed(),
        Wit::String => any::<String>().prop_map(Val::String).boxed(),
        Wit::Bytes => prop::collection::vec(any::<u8>().prop_map(Val::U8), 0..6).prop_map(Val::List).boxed(),
        Wit::List(item) => prop::collection::vec(values(item), 0..4).prop_map(Val::List).boxed(),
        Wit::Tuple(types) => types.iter().map(values).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Wit::Record(fields) => {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
            let items: Vec<_> = fields.iter().map(|(_, ty)| values(ty)).collect();
            items.prop_map(move |items| Val::Record(names.iter().cloned().zip(items).collect())).boxed()
        }
        Wit::Enum(names) => prop::sample::select(names.clone()).prop_map(Val::Enum).boxed(),
        Wit::Flags(names) => {
            prop::sample::subsequence(names.clone(), 0..=names.len()).prop_map(Val::Flags).boxed()
        }
        Wit::Option(some) => {
            prop::option::of(values(some)).prop_map(|v| Val::Option(v.map(Box::new))).boxed()
        }
        Wit::Variant(cases) => {
            let case = prop::sample::select(cases.clone());
            case.prop_flat_map(|(name, ty)| {
                payload(ty.as_ref()).prop_map(move |v| Val::Variant(name.clone(), v))
            })
            .boxed()
        }
        Wit::Result(ok, err) => {
            let ok = payload(ok.as_deref()).prop_map(|value| Val::Result(Ok(value)));
            let err = payload(err.as_deref()).prop_map(|value| Val::Result(Err(value)));
            prop_oneof![ok, err].boxed()
        }
    }
}

fn payload(ty: Option<&Wit>) -> BoxedStrategy<Option<Box<Val>>> {
    match ty {
        None => Just(None).boxed(),
        Some(ty) => values(ty).prop_map(|value| Some(Box::new(value))).boxed(),
    }
}

fn finite(value: &Val) -> bool {
    match value {
        Val::Float32(f) => f.is_finite(),
        Val::Float64(f) => f.is_finite(),
        Val::List(items) | Val::Tuple(items) => items.iter().all(finite),
        Val::Record(fields) => fields.iter().all(|(_, value)| finite(value)),
        Val::Variant(_, value) | Val::Option(value) | Val::Result(Ok(value) | Err(value)) => {
            value.as_deref().is_none_or(finite)
        }
        _ => true,
    }
}

proptest! {
    #[test]
    fn every_value_comes_back_from_its_json((ty, value) in typed()) {
        let mut out = Vec::new();
        match encode(&value, &ty, &mut out, &Path::root("v")) {
            Ok(()) => {
                let text = String::from_utf8(out).unwrap();
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
                prop_assert_eq!(read(&ty, &text).unwrap(), value);
            }
            Err(_) => prop_assert!(!finite(&value)),
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(ty in types(), text in "[\\[\\]{}:,\"\\\\a-z0-9 .eE+-]{0,40}|\\PC{0,20}") {
        // Whatever it answers; and what it takes is JSON.
        if read(&ty, &text).is_ok() {
            prop_assert!(is_json(&text), "{}", text);
        }
    }

    #[test]
    fn numbers_are_numbers_as_others_see_them(text in "-?[0-9.eE+-]{1,8}") {
        let mut reader = Reader::new(&text);
        let ours = reader.kind() == Kind::Number && reader.number().is_ok() && reader.finish().is_ok();
        // serde_json also refuses what leaves the range of a double.
        let in_range = text.parse::<f64>().is_ok_and(f64::is_finite);
        prop_assert_eq!(ours && in_range, serde_json::from_str::<f64>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn strings_are_strings_as_others_write_them(content in any::<String>()) {
        let text = serde_json::to_string(&content).unwrap();
        prop_assert_eq!(read(&Wit::String, &text).unwrap(), Val::String(content));
    }
}
