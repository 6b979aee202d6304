//! WIT types as JSON Schema, in both directions of the product's mapping: what a method takes is wider than what it gives.
//!
//! JSON Schema counts `1.0` as an integer. The mapping takes integers without fraction or exponent alone, which no schema can
//! say; whoever writes whole numbers as whole numbers never notices.

use oprc_mesh::catalog::{Method, Param};
use oprc_mesh::wit::Wit;
use serde_json::{Map, Value, json};

use super::schemas::BASE64_PATTERN;

/// Types that lie so deep are named, so that a document never nests deeper than parsers of JSON go.
const LEVELS_PER_NAME: usize = 8;

/// The shortest text of the greatest `f32`, which is what is written for it: as a double a little more than it.
const F32_MAX: f64 = 3.402_823_5e38;

/// Which way a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// Collects the named parts of a document.
pub(super) struct Types<'a> {
    /// What the names of parts begin with.
    stem: String,
    way: Way,
    named: &'a mut Map<String, Value>,
}

/// Types that every class may refer to.
pub(super) fn shared() -> Map<String, Value> {
    let number = |least: i64, most: u64, format: &str| json!({ "type": "integer", "minimum": least, "maximum": most, "format": format });
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let about = "A number, or a string of its decimal digits for languages whose numbers are doubles.";
    let wide =
        |number: Value, pattern: &str| json!({ "anyOf": [number, text(pattern)], "description": about });
    let least = u64::MAX / 2 + 1;
    let signed = format!("^(-?({})|-{least})$", digits_up_to(i64::MAX as u64));
    let parts = [
        ("U64", wide(number(0, u64::MAX, "uint64"), &format!("^({})$", digits_up_to(u64::MAX)))),
        ("S64", wide(number(i64::MIN, i64::MAX as u64, "int64"), &signed)),
        ("Bytes", json!({ "type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN })),
    ];
    parts.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// A regular expression for the decimal digits of 0 to `most`, which has at least two.
fn digits_up_to(most: u64) -> String {
    let digits = most.to_string();
    let shorter = digits.len() - 2;
    let mut ways = vec![format!("0|[1-9][0-9]{{0,{shorter}}}")];
    for (at, digit) in digits.bytes().enumerate() {
        let least = if at == 0 { b'1' } else { b'0' };
        if digit > least {
            let (before, after) = (&digits[..at], digits.len() - at - 1);
            let (least, below) = (char::from(least), char::from(digit - 1));
            ways.push(format!("{before}[{least}-{below}][0-9]{{{after}}}"));
        }
    }
    ways.push(digits);
    ways.join("|")
}

impl<'a> Types<'a> {
    pub(super) fn new(stem: String, way: Way, named: &'a mut Map<String, Value>) -> Self {
        Self { stem, way, named }
    }

    /// The arguments of a call: by name, or in their order, where options at the end may be left out.
    pub(super) fn arguments(&mut self, params: &[Param]) -> Value {
        let types: Vec<Option<Wit>> = params.iter().map(|param| Wit::parse(&param.ty).ok()).collect();
        let is_option = |ty: &Option<Wit>| ty.as_ref().is_some_and(Wit::is_option);
        let schemas: Vec<Value> = params.iter().map(|param| self.of_text(&param.ty)).collect();
        let names = params.iter().map(|param| param.name.clone());
        let required: Vec<String> =
            names.clone().zip(&types).filter(|(_, ty)| !is_option(ty)).map(|(name, _)| name).collect();
        let properties: Map<String, Value> = names.zip(schemas.iter().cloned()).collect();
        let least = types.iter().rposition(|ty| !is_option(ty)).map_or(0, |last| last + 1);
        let mut positional = json!({ "type": "array", "minItems": least, "maxItems": params.len() });
        if !schemas.is_empty() {
            positional["prefixItems"] = schemas.into();
        }
        json!({ "anyOf": [
            { "type": "object", "properties": properties, "required": required, "additionalProperties": false },
            positional,
        ]})
    }

    /// The schema of a type that is written out. One that this gateway cannot read, of a newer host, takes anything.
    pub(super) fn of_text(&mut self, text: &str) -> Value {
        match Wit::parse(text) {
            Ok(ty) => self.of(&ty),
            Err(_) => json!({ "description": text }),
        }
    }

    /// The schema of a type.
    pub(super) fn of(&mut self, ty: &Wit) -> Value {
        self.at(ty, 0)
    }

    fn at(&mut self, ty: &Wit, depth: usize) -> Value {
        if depth > 0 && depth.is_multiple_of(LEVELS_PER_NAME) {
            let schema = self.plain(ty, depth);
            let name = format!("{}.{}", self.stem, self.named.len());
            self.named.insert(name.clone(), schema);
            return json!({ "$ref": format!("#/components/schemas/{name}") });
        }
        self.plain(ty, depth)
    }

    fn plain(&mut self, ty: &Wit, depth: usize) -> Value {
        let depth = depth + 1;
        match ty {
            Wit::Bool => json!({ "type": "boolean" }),
            Wit::S8 => integer(i8::MIN.into(), i8::MAX.unsigned_abs().into(), None),
            Wit::U8 => integer(0, u8::MAX.into(), None),
            Wit::S16 => integer(i16::MIN.into(), i16::MAX.unsigned_abs().into(), None),
            Wit::U16 => integer(0, u16::MAX.into(), None),
            Wit::S32 => integer(i32::MIN.into(), i32::MAX.unsigned_abs().into(), Some("int32")),
            Wit::U32 => integer(0, u32::MAX.into(), None),
            Wit::S64 if self.way == Way::In => reference("S64"),
            Wit::S64 => integer(i64::MIN, i64::MAX.unsigned_abs(), Some("int64")),
            Wit::U64 if self.way == Way::In => reference("U64"),
            Wit::U64 => integer(0, u64::MAX, Some("uint64")),
            Wit::F32 => number(F32_MAX, "float"),
            Wit::F64 => number(f64::MAX, "double"),
            Wit::Char => json!({ "type": "string", "minLength": 1, "maxLength": 1 }),
            Wit::String => json!({ "type": "string" }),
            Wit::Bytes => reference("Bytes"),
            Wit::List(item) => json!({ "type": "array", "items": self.at(item, depth) }),
            Wit::Record(fields) => self.record(fields, depth),
            Wit::Tuple(types) => {
                let items: Vec<Value> = types.iter().map(|ty| self.at(ty, depth)).collect();
                let count = items.len();
                json!({ "type": "array", "prefixItems": items, "minItems": count, "maxItems": count })
            }
            Wit::Variant(cases) => self.variant(cases, depth),
            Wit::Enum(names) => json!({ "enum": names }),
            Wit::Option(some) if some.is_option() => {
                json!({ "anyOf": [{ "type": "null" }, single("some", &self.at(some, depth))] })
            }
            Wit::Option(some) => json!({ "anyOf": [{ "type": "null" }, self.at(some, depth)] }),
            Wit::Result(ok, err) => {
                let ok = self.payload("ok", ok.as_deref(), depth);
                let err = self.payload("err", err.as_deref(), depth);
                json!({ "anyOf": [ok, err] })
            }
            Wit::Flags(names) => {
                let unique = self.way == Way::Out;
                json!({ "type": "array", "items": { "enum": names }, "uniqueItems": unique })
            }
        }
    }

    /// A field of an option type may be left out on the way in, and is there on the way out.
    fn record(&mut self, fields: &[(String, Wit)], depth: usize) -> Value {
        let needed = |ty: &Wit| self.way == Way::Out || !ty.is_option();
        let required: Vec<&String> =
            fields.iter().filter(|(_, ty)| needed(ty)).map(|(name, _)| name).collect();
        let required = json!(required);
        let properties: Map<String, Value> =
            fields.iter().map(|(name, ty)| (name.clone(), self.at(ty, depth))).collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    /// A case without a payload is its name; on the way in also an object, as all others are.
    fn variant(&mut self, cases: &[(String, Option<Wit>)], depth: usize) -> Value {
        let bare: Vec<&String> = cases.iter().filter(|(_, ty)| ty.is_none()).map(|(name, _)| name).collect();
        let mut ways = Vec::new();
        if !bare.is_empty() {
            ways.push(json!({ "enum": bare }));
        }
        for (name, ty) in cases {
            if ty.is_some() || self.way == Way::In {
                ways.push(self.payload(name, ty.as_ref(), depth));
            }
        }
        json!({ "anyOf": ways })
    }

    /// `{"name": value}`, with null for no value.
    fn payload(&mut self, name: &str, ty: Option<&Wit>, depth: usize) -> Value {
        match ty {
            Some(ty) => single(name, &self.at(ty, depth)),
            None => single(name, &json!({ "type": "null" })),
        }
    }
}

/// Whether a call needs a body.
pub(super) fn needs_body(method: &Method) -> bool {
    method.params.iter().any(|param| !Wit::parse(&param.ty).is_ok_and(|ty| ty.is_option()))
}

fn single(name: &str, value: &Value) -> Value {
    json!({ "type": "object", "properties": { name: value }, "required": [name], "additionalProperties": false })
}

fn integer(least: i64, most: u64, format: Option<&str>) -> Value {
    let mut schema = json!({ "type": "integer", "minimum": least, "maximum": most });
    if let Some(format) = format {
        schema["format"] = format.into();
    }
    schema
}

/// NaN and the infinities have no JSON form; a number past the largest would become one.
fn number(most: f64, format: &str) -> Value {
    json!({ "type": "number", "minimum": -most, "maximum": most, "format": format })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
