//! The host's side of the package `oprc:odgm`. Here a guest's strings become checked types; what does not pass ends the
//! turn with the problem that the caller gets.

use bytes::Bytes;
use oprc_mesh::id::{ClassName, FieldKey, ObjectId};
use oprc_mesh::limits::{FIELD_VALUE_BYTES_MAX, PAGE_ITEMS_MAX};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Emitted;
use tokio::time::Instant;

use super::access::ObjectAccess;
use super::bindings::oprc::odgm::types::ObjectRef;
use super::bindings::oprc::odgm::{context, events, fields, objects, triggers, types};
use super::state::State;

/// Values that one `get-many` gives, in bytes.
const GET_MANY_BYTES_MAX: usize = 16 * 1024 * 1024;

impl State {
    /// The bound object's fields, for `operation`.
    pub(super) fn bound(&mut self, operation: &str) -> Result<&mut dyn ObjectAccess, Problem> {
        if self.access.object().is_none() {
            let detail =
                format!("the function used {operation}, but no object is bound: it was called as a function");
            return Err(Problem::new(Code::Invalid, detail).hint("call it as a method of an object"));
        }
        Ok(&mut *self.access)
    }
}

fn key(text: &str, operation: &str) -> Result<FieldKey, Problem> {
    FieldKey::parse(text).map_err(|error| misuse(operation, &error.to_string()))
}

fn misuse(operation: &str, what: &str) -> Problem {
    Problem::new(Code::Invalid, format!("the function misused {operation}: {what}"))
}

fn value(bytes: Vec<u8>, key: &FieldKey) -> Result<Bytes, Problem> {
    if bytes.len() > FIELD_VALUE_BYTES_MAX {
        let detail = format!(
            "the function set field {key:?} to {} bytes; a value has at most {FIELD_VALUE_BYTES_MAX}",
            bytes.len()
        );
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    Ok(bytes.into())
}

fn page_limit(limit: u32, operation: &str) -> Result<usize, Problem> {
    let items = usize::try_from(limit).unwrap_or(usize::MAX);
    if (1..=PAGE_ITEMS_MAX).contains(&items) {
        return Ok(items);
    }
    Err(misuse(operation, &format!("a limit of {limit}; allowed is 1 to {PAGE_ITEMS_MAX}")))
}

impl fields::Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let fields = self.bound("fields.get")?;
        let value = fields.get(&key(&name, "fields.get")?)?;
        Ok(value.map(Vec::from))
    }

    fn get_many(&mut self, keys: Vec<String>) -> wasmtime::Result<Vec<Option<Vec<u8>>>> {
        let operation = "fields.get-many";
        let fields = self.bound(operation)?;
        if keys.len() > PAGE_ITEMS_MAX {
            return Err(
                misuse(operation, &format!("{} keys; allowed are {PAGE_ITEMS_MAX}", keys.len())).into()
            );
        }
        let mut left = GET_MANY_BYTES_MAX;
        let mut values = Vec::with_capacity(keys.len());
        for name in keys {
            let value = fields.get(&key(&name, operation)?)?;
            left = left.checked_sub(value.as_ref().map_or(0, Bytes::len)).ok_or_else(|| {
                let detail =
                    format!("the function asked {operation} for more than {GET_MANY_BYTES_MAX} bytes");
                Problem::new(Code::PayloadTooLarge, detail).hint("ask for fewer keys at once")
            })?;
            values.push(value.map(Vec::from));
        }
        Ok(values)
    }

    fn set(&mut self, name: String, bytes: Vec<u8>) -> wasmtime::Result<()> {
        let fields = self.bound("fields.set")?;
        let key = key(&name, "fields.set")?;
        let value = value(bytes, &key)?;
        Ok(fields.set(key, value)?)
    }

    fn set_many(&mut self, items: Vec<fields::Field>) -> wasmtime::Result<()> {
        let fields = self.bound("fields.set-many")?;
        for field in items {
            let key = key(&field.key, "fields.set-many")?;
            let value = value(field.value, &key)?;
            fields.set(key, value)?;
        }
        Ok(())
    }

    fn delete(&mut self, name: String) -> wasmtime::Result<bool> {
        let fields = self.bound("fields.delete")?;
        Ok(fields.delete(&key(&name, "fields.delete")?)?)
    }

    fn list(&mut self, prefix: String, after: String, limit: u32) -> wasmtime::Result<fields::Page> {
        let fields = self.bound("fields.list")?;
        let (items, more) = fields.list(&prefix, &after, page_limit(limit, "fields.list")?)?;
        let items =
            items.into_iter().map(|field| fields::Field { key: field.key, value: field.value.into() });
        Ok(fields::Page { items: items.collect(), more })
    }

    fn increment(&mut self, name: String, delta: i64) -> wasmtime::Result<i64> {
        let operation = "fields.increment";
        let fields = self.bound(operation)?;
        let key = key(&name, operation)?;
        let current = match fields.get(&key)? {
            None => 0,
            Some(value) => decimal(&value).ok_or_else(|| misuse(operation, &not_a_number(&key, &value)))?,
        };
        let sum = current.checked_add(delta).ok_or_else(|| {
            misuse(
                operation,
                &format!("field {key:?} holds {current}; adding {delta} leaves the range of s64"),
            )
        })?;
        fields.set(key, sum.to_string().into())?;
        Ok(sum)
    }

    fn clear(&mut self) -> wasmtime::Result<()> {
        Ok(self.bound("fields.clear")?.clear()?)
    }
}

/// The number that `value` is in decimal ASCII, in the one form that `increment` itself writes.
fn decimal(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn not_a_number(key: &FieldKey, value: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&value[..value.len().min(32)]);
    format!("field {key:?} holds {shown:?}, which is no decimal number within s64")
}

impl context::Host for State {
    fn self_(&mut self) -> wasmtime::Result<Option<ObjectRef>> {
        let object = self.access.object();
        Ok(object.map(|(class, id)| ObjectRef { class: class.to_string(), id: id.to_string() }))
    }

    fn invocation_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.invocation.clone())
    }

    fn method(&mut self) -> wasmtime::Result<String> {
        Ok(self.call.method.to_string())
    }

    fn caller(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(Some(self.call.caller.clone()).filter(|caller| !caller.is_empty()))
    }

    fn deadline(&mut self) -> wasmtime::Result<u64> {
        let left = self.until.saturating_duration_since(Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn headers(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.call.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect())
    }

    fn version(&mut self) -> wasmtime::Result<u64> {
        Ok(if self.access.object().is_some() { self.access.version() } else { 0 })
    }
}

impl objects::Host for State {
    async fn get(&mut self, object: ObjectRef, name: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let operation = "objects.get";
        let class = class(&object.class, operation)?;
        let id = ObjectId::parse(&object.id).map_err(|error| misuse(operation, &error.to_string()))?;
        let (key, others) = (key(&name, operation)?, self.access.others());
        if self.access.object() == Some((&class, &id)) {
            self.access.settled(self.until).await?;
        }
        let value = others.read(&class, &id, &key, self.until).await?;
        Ok(value.map(Vec::from))
    }

    async fn list(
        &mut self,
        class_name: String,
        prefix: String,
        after: String,
        limit: u32,
    ) -> wasmtime::Result<objects::Page> {
        let operation = "objects.list";
        let class = class(&class_name, operation)?;
        let (limit, others) = (page_limit(limit, operation)?, self.access.others());
        if self.access.object().is_some_and(|(own, _)| *own == class) {
            self.access.settled(self.until).await?;
        }
        let (items, more) = others.list(&class, &prefix, &after, limit, self.until).await?;
        let items =
            items.into_iter().map(|entry| objects::Entry { id: entry.id, version: entry.tag.version });
        Ok(objects::Page { items: items.collect(), more })
    }

    async fn invoke(
        &mut self,
        object: ObjectRef,
        method: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, objects::Error>> {
        self.call_other("objects.invoke", &object.class, Some(&object.id), &method, payload).await
    }

    async fn call(
        &mut self,
        class: String,
        function: String,
        payload: Vec<u8>,
    ) -> wasmtime::Result<Result<Vec<u8>, objects::Error>> {
        self.call_other("objects.call", &class, None, &function, payload).await
    }
}

impl events::Host for State {
    fn emit(&mut self, topic: String, payload: Vec<u8>) -> wasmtime::Result<()> {
        let operation = "events.emit";
        let object = self.bound(operation)?;
        // a topic is formed like a key
        FieldKey::parse(&topic).map_err(|error| {
            misuse(operation, &format!("a topic may be {}, and {:?} is not", error.allowed, error.given))
        })?;
        Ok(object.emit(Emitted { topic, payload: payload.into() })?)
    }
}

fn class(name: &str, operation: &str) -> Result<ClassName, Problem> {
    ClassName::parse(name).map_err(|error| misuse(operation, &error.to_string()))
}

impl types::Host for State {}

impl triggers::Host for State {}
