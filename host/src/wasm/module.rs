//! A compiled component, and one turn of it.

use std::any::Any;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use oprc_mesh::catalog::Method;
use oprc_mesh::outcome::{Code, Effect, Problem};
use oprc_mesh::wire::Form;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker, Val};
use wasmtime::{Engine, Store};

use super::access::ObjectAccess;
use super::bindings::exports::oprc::odgm::handler::Error as HandlerError;
use super::budget::Share;
use super::call::Call;
use super::contract::{Contract, Export, Offer, check_imports, invalid, names};
use super::failure;
use super::meter;
use super::running::{Place, Running, check, payload_bytes_max, too_large};
use super::state::{self, State};
use crate::value::{Output, bytes_of, function_problem, is_json, reply_bytes};

/// A component ready to run: compiled, linked, its exports looked up.
pub(crate) struct Module {
    pub(super) engine: Engine,
    pub(super) pre: InstancePre<State>,
    contract: Contract,
    /// It serves HTTP by this function.
    pub(super) http: Option<ComponentExportIndex>,
    pub(super) place: Place,
}

/// What a call comes to, decided before anything is instantiated.
enum Plan<'a> {
    Handler(&'a ComponentExportIndex),
    Bytes(&'a Export, Bytes),
    /// With its part of the memory of all turns.
    Values(&'a Export, Vec<Val>, Share),
}

impl Module {
    /// Checks and links a compiled component.
    pub(super) fn new(component: &Component, linker: &Linker<State>, place: Place) -> Result<Self, Problem> {
        let engine = linker.engine().clone();
        check_imports(component, &engine)?;
        let pre = linker.instantiate_pre(component).map_err(|error| {
            invalid(format!(
                "the component's imports differ from what this host offers: {}",
                failure::chain(&error)
            ))
        })?;
        let Offer { contract, http } = Offer::of(component, &engine)?;
        Ok(Self { engine, pre, contract, http, place })
    }

    /// The methods in name order, with those in `readonly` marked; none for a generic component.
    ///
    /// # Errors
    /// `invalid-component` when `readonly` names a method that a typed component does not have.
    pub(crate) fn methods(&self, readonly: &[String]) -> Result<Vec<Method>, Problem> {
        self.contract.describe(readonly)
    }

    /// The component exports `oprc:odgm/handler`: any method name goes to it.
    pub(crate) fn is_generic(&self) -> bool {
        matches!(self.contract, Contract::Generic(_))
    }

    /// The component exports `wasi:http/incoming-handler`: it serves HTTP of its own.
    pub(crate) fn serves_http(&self) -> bool {
        self.http.is_some()
    }

    /// Runs one turn in a fresh instance, and gives `access` back with what the turn wrote into it. On a problem that
    /// is to be thrown away.
    ///
    /// # Errors
    /// `not-found` for an unknown method, `invalid` for arguments that do not fit (both before anything runs); then
    /// `function-error`, `trap`, the limits' own codes, or the problem of a misused import.
    pub(crate) async fn call<A: ObjectAccess>(&self, call: Call, access: A) -> (Result<Output, Problem>, A) {
        let subject = subject(&call, &access);
        let (result, access) = match self.plan(&call) {
            Ok(plan) => {
                let (result, access) = self.turn(plan, Arc::new(call), Box::new(access)).await;
                (result, unbox(access))
            }
            Err(problem) => (Err(problem.with_effect(Effect::NotRun)), access),
        };
        (result.map_err(|problem| problem.on("invoke", subject())), access)
    }

    fn plan(&self, call: &Call) -> Result<Plan<'_>, Problem> {
        check(call, call.payload.len())?;
        let methods = match &self.contract {
            Contract::Generic(index) => return Ok(Plan::Handler(index)),
            Contract::Typed(methods) => methods,
        };
        let export = methods.get(call.method.as_str()).ok_or_else(|| unknown(call, &names(methods)))?;
        if export.bytes_to_bytes && call.form == Form::Raw {
            return Ok(Plan::Bytes(export, call.payload.clone()));
        }
        let room = state::arguments_bytes_max(&call.limits);
        let (arguments, taken) = export.signature.arguments(&call.payload, call.form, room)?;
        match arguments.as_slice() {
            [Val::List(items)] if export.bytes_to_bytes => {
                let bytes = bytes_of(items).unwrap_or_default();
                Ok(Plan::Bytes(export, bytes.into()))
            }
            _ => {
                let mut share = self.place.budget.share(call.chain.len());
                if !share.grow(taken) {
                    return Err(failure::no_memory());
                }
                Ok(Plan::Values(export, arguments, share))
            }
        }
    }

    async fn turn(
        &self,
        plan: Plan<'_>,
        call: Arc<Call>,
        access: Box<dyn ObjectAccess>,
    ) -> (Result<Output, Problem>, Box<dyn ObjectAccess>) {
        let mut run = match Running::begin(&self.place, &self.engine, &call, access) {
            Ok(run) => run,
            Err(access) => return (Err(failure::no_slot()), access),
        };
        let done = meter::run(pin!(self.execute(&mut run.store, plan, &call)), &run.meter, run.until).await;
        let (result, access) = run.end(done);
        (result.and_then(|output| within_limit(output, &call)), access)
    }

    async fn execute(
        &self,
        store: &mut Store<State>,
        plan: Plan<'_>,
        call: &Call,
    ) -> wasmtime::Result<Output> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        match plan {
            Plan::Handler(index) => {
                let invoke = instance
                    .get_typed_func::<(&str, &[u8]), (Result<Vec<u8>, HandlerError>,)>(&mut *store, index)?;
                let (result,) = invoke.call_async(&mut *store, (call.method.as_str(), &call.payload)).await?;
                match result {
                    Ok(bytes) => Ok(handled(bytes, call.accept)),
                    Err(HandlerError::UnknownMethod) => Err(unknown(call, "none of that name").into()),
                    Err(HandlerError::Failed(text)) => Err(failed(&text).into()),
                }
            }
            Plan::Bytes(export, bytes) => {
                let func = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut *store, &export.index)?;
                let (result,) = func.call_async(&mut *store, (&bytes,)).await?;
                Ok(reply_bytes(result, call.accept))
            }
            Plan::Values(export, arguments, _share) => {
                let func = instance.get_func(&mut *store, export.index);
                let func = func.ok_or_else(|| Problem::new(Code::Internal, "an export is gone"))?;
                let mut results = vec![Val::Bool(false); usize::from(export.signature.result.is_some())];
                func.call_async(&mut *store, &arguments, &mut results).await?;
                Ok(export.signature.reply(results.first(), call.accept)?)
            }
        }
    }
}

/// A handler's result leaves as it is; its bytes say whether they are JSON.
fn handled(bytes: Vec<u8>, accept: Form) -> Output {
    let json = accept == Form::Json && std::str::from_utf8(&bytes).is_ok_and(is_json);
    Output { payload: Some(bytes.into()), form: if json { Form::Json } else { Form::Raw } }
}

/// Gives a turn's access back as the type that it went in as.
#[expect(clippy::panic, reason = "the box was made from this very type a few lines before")]
pub(super) fn unbox<A: ObjectAccess>(access: Box<dyn ObjectAccess>) -> A {
    let access: Box<dyn Any> = access;
    *access.downcast::<A>().unwrap_or_else(|_| panic!("the turn's access changed its type"))
}

/// Names what is called, when somebody wants to know: `Counter/alice.increment`.
pub(super) fn subject<A: ObjectAccess>(call: &Call, access: &A) -> impl FnOnce() -> String + use<A> {
    let (class, method) = (call.class.clone(), call.method.clone());
    let object = access.object().map(|(_, id)| id.clone());
    move || match object {
        Some(id) => format!("{class}/{id}.{method}"),
        None => format!("{class}.{method}"),
    }
}

fn within_limit(output: Output, call: &Call) -> Result<Output, Problem> {
    let (bytes, bytes_max) = (output.payload.as_ref().map_or(0, Bytes::len), payload_bytes_max(call));
    if bytes <= bytes_max {
        return Ok(output);
    }
    Err(too_large(&format!("the result has {bytes} bytes"), bytes_max))
}

fn unknown(call: &Call, there: &str) -> Problem {
    let detail = format!("class {} has no method `{}`", call.class, call.method);
    Problem::new(Code::NotFound, detail).hint(format!("its methods: {there}"))
}

/// A handler's own failure: JSON text as it is, other text as a JSON string.
fn failed(text: &str) -> Problem {
    function_problem(if is_json(text) { text.to_owned() } else { serde_json::Value::from(text).to_string() })
}
