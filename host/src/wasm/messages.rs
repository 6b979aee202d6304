//! The host's side of `oprc:odgm/messages`.

use oprc_mesh::clock::now_ms;
use oprc_mesh::id::{ClassName, FieldKey, MethodName, ObjectId};
use oprc_mesh::limits::FIELD_VALUE_BYTES_MAX;
use oprc_mesh::outcome::{Code, Problem};

use super::access::Letter;
use super::bindings::oprc::odgm::messages::{Due, Host, Options};
use super::bindings::oprc::odgm::types::ObjectRef;
use super::state::State;

impl Host for State {
    fn send(
        &mut self,
        to: ObjectRef,
        method: String,
        payload: Vec<u8>,
        options: Options,
    ) -> wasmtime::Result<()> {
        let operation = "messages.send";
        let object = ObjectId::parse(&to.id).map_err(|error| misuse(operation, &error.to_string()))?;
        let letter = letter(operation, &to.class, Some(object), &method, payload, &options)?;
        Ok(self.bound(operation)?.send(letter)?)
    }

    fn send_to_function(
        &mut self,
        class: String,
        function: String,
        payload: Vec<u8>,
        options: Options,
    ) -> wasmtime::Result<()> {
        let operation = "messages.send-to-function";
        let letter = letter(operation, &class, None, &function, payload, &options)?;
        Ok(self.bound(operation)?.send(letter)?)
    }

    fn cancel(&mut self, key: String) -> wasmtime::Result<bool> {
        let operation = "messages.cancel";
        let key = FieldKey::parse(&key).map_err(|error| misuse(operation, &error.to_string()))?;
        Ok(self.bound(operation)?.cancel(&key)?)
    }
}

fn letter(
    operation: &str,
    class: &str,
    object: Option<ObjectId>,
    method: &str,
    payload: Vec<u8>,
    options: &Options,
) -> Result<Letter, Problem> {
    let wrong = |error: oprc_mesh::id::IdError| misuse(operation, &error.to_string());
    if payload.len() > FIELD_VALUE_BYTES_MAX {
        let bytes = payload.len();
        let detail =
            format!("the function sent {bytes} bytes; a message has at most {FIELD_VALUE_BYTES_MAX}");
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    Ok(Letter {
        class: ClassName::parse(class).map_err(wrong)?,
        object,
        method: MethodName::parse(method).map_err(wrong)?,
        payload: payload.into(),
        due_ms: due_ms(&options.due),
        key: options.key.as_deref().map(FieldKey::parse).transpose().map_err(wrong)?,
    })
}

fn due_ms(due: &Due) -> u64 {
    match due {
        Due::Now | Due::Delay(0) => 0,
        Due::Delay(ms) => now_ms().saturating_add(*ms),
        Due::At(ms) => *ms,
    }
}

fn misuse(operation: &str, what: &str) -> Problem {
    Problem::new(Code::Invalid, format!("the function misused {operation}: {what}"))
}
