//! One value of a type, as a caller would write it.

use oprc_mesh::catalog::Param;
use oprc_mesh::wit::Wit;
use serde_json::{Map, Value, json};

/// Arguments by name; none when some type cannot be read.
pub(super) fn arguments(params: &[Param]) -> Option<Value> {
    let members =
        params.iter().map(|Param { name, ty }| Some((name.clone(), example(&Wit::parse(ty).ok()?))));
    members.collect::<Option<Map<String, Value>>>().map(Value::Object)
}

fn example(ty: &Wit) -> Value {
    match ty {
        Wit::Bool => json!(true),
        Wit::S8 | Wit::U8 | Wit::S16 | Wit::U16 | Wit::S32 | Wit::U32 | Wit::S64 | Wit::U64 => json!(1),
        Wit::F32 | Wit::F64 => json!(0.5),
        Wit::Char => json!("a"),
        Wit::String => json!("text"),
        Wit::Bytes => json!("AAEC"),
        Wit::List(item) => json!([example(item)]),
        Wit::Record(fields) => fields.iter().map(|(name, ty)| (name.clone(), example(ty))).collect(),
        Wit::Tuple(types) => types.iter().map(example).collect(),
        Wit::Variant(cases) => match cases.first() {
            Some((name, Some(payload))) => json!({ name: example(payload) }),
            first => json!(first.map(|(name, _)| name)),
        },
        Wit::Enum(names) => json!(names.first()),
        Wit::Option(some) if some.is_option() => json!({ "some": example(some) }),
        Wit::Option(some) => example(some),
        Wit::Result(ok, _) => json!({ "ok": ok.as_deref().map(example) }),
        Wit::Flags(names) => names.iter().take(1).cloned().collect(),
    }
}
