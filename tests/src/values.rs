//! Values made at random from a JSON schema: such as it allows, and such as it does not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _};
use serde_json::{Map, Number, Value, json};

use crate::openapi::Schema;

/// Makes values of one schema in a document.
pub struct Values<'a> {
    document: &'a Value,
    schema: &'a Value,
    check: Schema,
}

/// Tries until a value is found.
const TRIES: usize = 200;
/// Characters that are more than one byte, or mean something in JSON.
const CHARACTERS: &[char] = &[
    'a',
    'Z',
    '0',
    ' ',
    '"',
    '\\',
    '/',
    '\0',
    '\n',
    '\u{7f}',
    'é',
    '日',
    '🦀',
    '\u{2028}',
    '\u{ffff}',
    '\u{10ffff}',
];

impl<'a> Values<'a> {
    /// Of the schema at `pointer`.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(document: &'a Value, pointer: &str) -> Self {
        let schema = document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer}"));
        Self { document, schema, check: Schema::at(document, pointer) }
    }

    /// A value that the schema allows.
    ///
    /// # Panics
    /// When none is found.
    pub fn good(&self, rng: &mut StdRng) -> Value {
        let found =
            (0..TRIES).map(|_| self.make(self.schema, rng)).find(|value| self.check.refusal(value).is_none());
        found.unwrap_or_else(|| panic!("no value of {}", self.schema))
    }

    /// A value that it does not allow, most often one that resembles those that it does.
    ///
    /// # Panics
    /// When none is found.
    pub fn bad(&self, rng: &mut StdRng) -> Value {
        let spoilt = (0..TRIES).map(|_| spoil(self.good(rng), rng));
        let mut bad = spoilt.filter(|value| self.check.refusal(value).is_some());
        bad.next().unwrap_or_else(|| panic!("{} allows everything", self.schema))
    }

    fn make(&self, schema: &Value, rng: &mut StdRng) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            return self
                .make(self.document.pointer(&reference[1..]).expect("a reference leads somewhere"), rng);
        }
        if let Some(ways) = schema["anyOf"].as_array() {
            return self.make(ways.choose(rng).expect("there is a way"), rng);
        }
        if let Some(values) = schema["enum"].as_array() {
            return values.choose(rng).expect("there is a value").clone();
        }
        match schema["type"].as_str() {
            Some("null") => Value::Null,
            Some("boolean") => rng.random_bool(0.5).into(),
            Some("integer") => integer(schema, rng),
            Some("number") => number(schema, rng),
            Some("string") => text(schema, rng).into(),
            Some("array") => self.array(schema, rng),
            Some("object") => self.object(schema, rng),
            other => panic!("a schema of type {other:?}: {schema}"),
        }
    }

    fn array(&self, schema: &Value, rng: &mut StdRng) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
        let most = schema["maxItems"].as_u64().unwrap_or(4) as usize;
        let first = schema["prefixItems"].as_array();
        let item = |at: usize| first.and_then(|first| first.get(at)).unwrap_or(&schema["items"]);
        (0..rng.random_range(least..=most)).map(|at| self.make(item(at), rng)).collect()
    }

    fn object(&self, schema: &Value, rng: &mut StdRng) -> Value {
        let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
        let mut members = Map::new();
        for (name, schema) in schema["properties"].as_object().expect("properties") {
            if required.iter().any(|one| one == name) || rng.random_bool(0.5) {
                members.insert(name.clone(), self.make(schema, rng));
            }
        }
        members.into()
    }
}

/// The least, the greatest, and anything between.
fn integer(schema: &Value, rng: &mut StdRng) -> Value {
    let bound = |name: &str| schema[name].as_i64().map(i128::from).or(schema[name].as_u64().map(i128::from));
    let (least, most) = (bound("minimum").expect("a least"), bound("maximum").expect("a greatest"));
    let near_zero = rng.random_range(-9..=9_i128).clamp(least, most);
    let any = rng.random_range(least..=most);
    let number = *[least, most, near_zero, any].choose(rng).expect("four of them");
    u64::try_from(number).map_or_else(|_| json!(number as i64), Value::from)
}

fn number(schema: &Value, rng: &mut StdRng) -> Value {
    let most = schema["maximum"].as_f64().expect("a greatest");
    let scaled = rng.random_range(-1.0..=1.0) * most;
    let small = rng.random_range(-100.0..=100.0);
    let number =
        *[most, -most, 0.0, -0.0, f64::MIN_POSITIVE, scaled, small].choose(rng).expect("seven of them");
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// A string with a pattern is one of digits or of base64: others do not occur where values are made.
fn text(schema: &Value, rng: &mut StdRng) -> String {
    if schema["contentEncoding"] == "base64" {
        let mut bytes = vec![0; rng.random_range(0..8)];
        rng.fill_bytes(&mut bytes);
        return STANDARD.encode(bytes);
    }
    if schema.get("pattern").is_some() {
        let ends = ["0", "18446744073709551615", "9223372036854775807", "-9223372036854775808", "-0"];
        return if rng.random_bool(0.5) {
            rng.random::<i64>().to_string()
        } else {
            (*ends.choose(rng).expect("five of them")).to_owned()
        };
    }
    let least = schema["minLength"].as_u64().unwrap_or(0);
    let most = schema["maxLength"].as_u64().unwrap_or(6);
    (0..rng.random_range(least..=most)).map(|_| *CHARACTERS.choose(rng).expect("some")).collect()
}

/// Something like `value` that is most often no longer allowed.
fn spoil(mut value: Value, rng: &mut StdRng) -> Value {
    // go in, or change it here
    let goes_in = rng.random_bool(0.7);
    match &mut value {
        Value::Array(items) if !items.is_empty() && goes_in => {
            let at = rng.random_range(0..items.len());
            items[at] = spoil(items[at].take(), rng);
        }
        Value::Object(members) if !members.is_empty() && goes_in => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = names.choose(rng).expect("some");
            if rng.random_bool(0.2) {
                members.remove(name);
            } else {
                let member = members[name].take();
                members.insert(name.clone(), spoil(member, rng));
            }
        }
        Value::Object(members) if rng.random_bool(0.5) => {
            members.insert("other".to_owned(), json!(1));
        }
        Value::Array(items) if rng.random_bool(0.5) => {
            if items.pop().is_none() || rng.random_bool(0.5) {
                items.extend([json!(1), json!("x")]);
            }
        }
        Value::String(text) if rng.random_bool(0.5) => text.push_str("=x"),
        other => {
            let strange = [
                json!(null),
                json!(true),
                json!(-1),
                json!(1.5),
                json!(256),
                json!(1e300),
                json!(u64::MAX),
                json!(""),
                json!("01"),
                json!("18446744073709551616"),
                json!("ab"),
                json!([]),
                json!({}),
                json!({ "ok": 1, "err": 1 }),
            ];
            *other = strange.choose(rng).expect("some").clone();
        }
    }
    value
}
