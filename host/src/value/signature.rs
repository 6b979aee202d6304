//! A method's parameters and result: a call's body to arguments, and what the method gave to a reply.

use bytes::Bytes;
use oprc_mesh::catalog::{Method, Param};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::Form;
use wasmtime::component::Val;

use super::decode::{VALUE_BYTES, bytes_val, decode, members};
use super::encode::{Unwritable, base64_bytes, bytes_of, encode};
use super::json::{Kind, Reader};
use super::path::{Path, Refused};
use super::room::Room;
use super::wit::Wit;

/// What a call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// The result; `None` when the method has none.
    pub(crate) payload: Option<Bytes>,
    /// What the payload is.
    pub(crate) form: Form,
}

/// The types of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    /// Name and type of each parameter, in order.
    pub(crate) params: Vec<(String, Wit)>,
    /// The type of the result, if there is one.
    pub(crate) result: Option<Wit>,
}

impl Signature {
    /// As the catalog shows it.
    pub(crate) fn describe(&self, name: &str, readonly: bool) -> Method {
        let params = self.params.iter().map(|(name, ty)| Param { name: name.clone(), ty: ty.to_string() });
        let result = self.result.as_ref().map(ToString::to_string).unwrap_or_default();
        Method { name: name.to_owned(), params: params.collect(), result, readonly }
    }

    /// The only parameter is a `list<u8>`: it takes a raw body as it is.
    pub(crate) fn takes_raw(&self) -> bool {
        matches!(self.params.as_slice(), [(_, Wit::Bytes)])
    }

    /// The arguments in a call's body, and how many bytes they take; at most `bytes_max`.
    ///
    /// # Errors
    /// `invalid`, with the path to what does not fit, the type that was expected and what was found;
    /// `payload-too-large` when they take more.
    pub(crate) fn arguments(
        &self,
        payload: &[u8],
        form: Form,
        bytes_max: usize,
    ) -> Result<(Vec<Val>, usize), Problem> {
        let mut room = Room::new(bytes_max);
        let arguments = if form == Form::Raw {
            self.raw_arguments(payload, &mut room)
        } else {
            self.json_arguments(payload, &mut room)
        };
        match arguments {
            Ok(arguments) => Ok((arguments, room.taken())),
            Err(refused) if room.is_over() => Err(Problem::new(Code::PayloadTooLarge, refused.to_string())
                .hint("send less at once, or raise memory_mib in the manifest")),
            Err(refused) => Err(self.invalid(&refused)),
        }
    }

    fn raw_arguments(&self, payload: &[u8], room: &mut Room) -> Result<Vec<Val>, Refused> {
        if !self.takes_raw() {
            if payload.is_empty() {
                return self.without_body();
            }
            let refused = "a raw body needs a method whose only parameter is a list<u8>; send JSON";
            return Err(Refused(refused.into()));
        }
        room.take(payload.len().saturating_mul(VALUE_BYTES))?;
        Ok(vec![bytes_val(payload)])
    }

    fn json_arguments(&self, payload: &[u8], room: &mut Room) -> Result<Vec<Val>, Refused> {
        let text = std::str::from_utf8(payload);
        let text =
            text.map_err(|error| Refused(format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
        let mut reader = Reader::within(text, room);
        let arguments = match reader.kind() {
            Kind::End => return self.without_body(),
            Kind::Object => members(&mut reader, &self.params, None, "parameter")?,
            Kind::Array => self.positional(&mut reader)?,
            _ => {
                let found = reader.found();
                let expected =
                    "the body must be a JSON object with the parameters by name, or an array in their order";
                return Err(Refused(format!("{expected}, found {found}")));
            }
        };
        reader.finish()?;
        Ok(arguments)
    }

    /// Trailing options may be left out.
    fn positional(&self, reader: &mut Reader<'_>) -> Result<Vec<Val>, Refused> {
        reader.open(b'[')?;
        reader.take(self.params.len() * VALUE_BYTES)?;
        let mut arguments = Vec::with_capacity(self.params.len());
        let mut first = true;
        while reader.item(&mut first, b']')? {
            let Some((name, ty)) = self.params.get(arguments.len()) else {
                let wrap = if self.params.len() == 1 {
                    "; a list as the only argument is written [[...]]"
                } else {
                    ""
                };
                let count = self.params.len();
                return Err(Refused(format!("too many arguments, expected {count}{wrap}")));
            };
            arguments.push(decode(reader, ty, &Path::root(name))?);
        }
        for (name, ty) in &self.params[arguments.len()..] {
            arguments.push(absent(name, ty)?);
        }
        Ok(arguments)
    }

    fn without_body(&self) -> Result<Vec<Val>, Refused> {
        self.params.iter().map(|(name, ty)| absent(name, ty)).collect()
    }

    fn invalid(&self, refused: &Refused) -> Problem {
        let params: Vec<_> = self.params.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
        Problem::new(Code::Invalid, refused.to_string())
            .hint(format!("the parameters are ({})", params.join(", ")))
    }

    /// The reply for what the method gave. A `result` at the top is taken apart: its error becomes a problem.
    ///
    /// # Errors
    /// `function-error` with the method's own error; `trap` when the value has no JSON form.
    pub(crate) fn reply(&self, value: Option<&Val>, accept: Form) -> Result<Output, Problem> {
        let (value, ty) = match (value, self.result.as_ref()) {
            (Some(Val::Result(Ok(value))), Some(Wit::Result(ty, _))) => (value.as_deref(), ty.as_deref()),
            (Some(Val::Result(Err(value))), Some(Wit::Result(_, ty))) => {
                return Err(function_error(value.as_deref(), ty.as_deref()));
            }
            plain => plain,
        };
        match (value, ty) {
            (None, None) => Ok(Output { payload: None, form: Form::Json }),
            (Some(Val::List(items)), Some(Wit::Bytes)) => match bytes_of(items) {
                Some(bytes) => Ok(reply_bytes(bytes, accept)),
                None => Err(no_json(&Unwritable::Mismatch("result".into(), Wit::Bytes.to_string()))),
            },
            (Some(value), Some(ty)) => {
                Ok(Output { payload: Some(text_of(value, ty, "result")?.into()), form: Form::Json })
            }
            (_, ty) => {
                let ty = ty.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                Err(no_json(&Unwritable::Mismatch("result".into(), ty)))
            }
        }
    }
}

/// The reply for a `list<u8>`: the bytes themselves, or base64 in JSON, as the caller wants it.
pub(crate) fn reply_bytes(bytes: Vec<u8>, accept: Form) -> Output {
    if accept == Form::Raw {
        return Output { payload: Some(bytes.into()), form: Form::Raw };
    }
    let mut text = Vec::with_capacity(bytes.len() / 3 * 4 + 6);
    base64_bytes(&bytes, &mut text);
    Output { payload: Some(text.into()), form: Form::Json }
}

fn absent(name: &str, ty: &Wit) -> Result<Val, Refused> {
    if ty.is_option() {
        Ok(Val::Option(None))
    } else {
        Err(Refused(format!("{name}: missing, expected {ty}")))
    }
}

fn text_of(value: &Val, ty: &Wit, root: &str) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    encode(value, ty, &mut out, &Path::root(root)).map_err(|error| no_json(&error))?;
    Ok(out)
}

fn function_error(value: Option<&Val>, ty: Option<&Wit>) -> Problem {
    let text = match (value, ty) {
        (Some(value), Some(ty)) => match text_of(value, ty, "error") {
            Ok(text) => text,
            Err(problem) => return problem,
        },
        _ => b"null".to_vec(),
    };
    function_problem(String::from_utf8_lossy(&text).into_owned())
}

/// The problem for a function's own error, as JSON text.
pub(crate) fn function_problem(error: String) -> Problem {
    let mut problem =
        Problem::new(Code::FunctionError, "the function returned an error; nothing was written");
    problem.error = error;
    problem
}

/// The guest gave something that JSON cannot hold: its fault, not the caller's.
fn no_json(error: &Unwritable) -> Problem {
    match error {
        Unwritable::NotFinite(..) => Problem::new(Code::Trap, error.to_string()),
        Unwritable::Mismatch(..) => Problem::new(Code::Internal, error.to_string()),
    }
}
