//! A door for the benches: modules without a grid. Not part of the crate's face.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use oprc_mesh::catalog::ClassLimits;
use oprc_mesh::id::{ClassName, Digest, FieldKey, MethodName, ObjectId};
use oprc_mesh::limits::{COMPONENT_CHUNK_BYTES, SETTINGS};
use oprc_mesh::outcome::{Code, Problem};
use oprc_mesh::wire::{Emitted, Field, Form, ObjectEntry, PutChunk};
use tokio::time::Instant;

use super::access::{Called, Callee, Exit, Letter, ObjectAccess, OtherObjects, PassGate, TurnError};
use super::call::Call;
use super::module::Module;
use super::runtime::{Runtime, RuntimeConfig};
use crate::logs::Said;

/// A loaded component, ready to be called again and again.
pub struct Bench {
    module: Arc<Module>,
    call: Call,
}

impl Bench {
    /// Loads `component`, with files in `data_dir`.
    ///
    /// # Errors
    /// Whatever goes wrong, in words.
    pub async fn load(data_dir: &std::path::Path, component: &[u8]) -> Result<Self, String> {
        let runtime = Runtime::new(&RuntimeConfig::new(data_dir)).map_err(|error| error.to_string())?;
        let digest = upload(&runtime, component).await.map_err(|problem| problem.to_string())?;
        let module = runtime.load(&digest).await.map_err(|problem| problem.to_string())?;
        let call = call("Bench", "noop").map_err(|problem| problem.to_string())?;
        Ok(Self { module, call })
    }

    /// One turn. `raw` sends and wants bytes instead of JSON.
    ///
    /// # Errors
    /// Whatever goes wrong, in words.
    pub async fn call(&self, method: &str, payload: &Bytes, raw: bool) -> Result<Option<Bytes>, String> {
        let form = if raw { Form::Raw } else { Form::Json };
        let method = MethodName::parse(method).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let call =
            Call { method, payload: payload.clone(), form, accept: form, deadline, ..self.call.clone() };
        let (result, _) = self.module.call(call, Fields::default()).await;
        result.map(|output| output.payload).map_err(|problem| problem.to_string())
    }
}

/// Puts a component into the runtime's store, as an uploader would.
pub(crate) async fn upload(runtime: &Runtime, component: &[u8]) -> Result<Digest, Problem> {
    let digest = Digest::of(component);
    for (number, data) in component.chunks(COMPONENT_CHUNK_BYTES).enumerate() {
        let chunk = PutChunk {
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            size: component.len() as u64,
            offset: (number * COMPONENT_CHUNK_BYTES) as u64,
            data: Bytes::copy_from_slice(data),
            upload: "bench".into(),
        };
        runtime.components().put(chunk).await?;
    }
    Ok(digest)
}

/// A call without arguments and with the default limits.
pub(crate) fn call(class: &str, method: &str) -> Result<Call, Problem> {
    Ok(Call {
        class: ClassName::parse(class)?,
        method: MethodName::parse(method)?,
        payload: Bytes::new(),
        form: Form::Json,
        accept: Form::Json,
        invocation: "invocation-1".into(),
        caller: String::new(),
        headers: Vec::new(),
        limits: ClassLimits::of(SETTINGS.map(|setting| setting.default)),
        deadline: Instant::now() + Duration::from_secs(10),
        keyed: false,
        attempts: 0,
        chain: Vec::new(),
        egress: Arc::default(),
        said: Said::default(),
    })
}

/// An object in a map.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) object: Option<(ClassName, ObjectId)>,
    pub(super) map: BTreeMap<String, Bytes>,
    pub(super) readonly: bool,
    pub(super) version: u64,
    pub(super) emitted: Vec<Emitted>,
}

impl Default for Fields {
    fn default() -> Self {
        let object = ClassName::parse("Bench").ok().zip(ObjectId::parse("object").ok());
        let map = BTreeMap::from([("count".to_owned(), Bytes::from_static(b"41"))]);
        Self { object, map, readonly: false, version: 7, emitted: Vec::new() }
    }
}

impl Fields {
    fn writable(&self) -> Result<(), TurnError> {
        if self.readonly { Err(Problem::new(Code::Invalid, "a write in a read-only method")) } else { Ok(()) }
    }
}

impl ObjectAccess for Fields {
    fn object(&self) -> Option<(&ClassName, &ObjectId)> {
        self.object.as_ref().map(|(class, id)| (class, id))
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn get(&mut self, key: &FieldKey) -> Result<Option<Bytes>, TurnError> {
        Ok(self.map.get(key.as_str()).cloned())
    }

    fn set(&mut self, key: FieldKey, value: Bytes) -> Result<(), TurnError> {
        self.writable()?;
        self.map.insert(key.as_str().to_owned(), value);
        Ok(())
    }

    fn delete(&mut self, key: &FieldKey) -> Result<bool, TurnError> {
        self.writable()?;
        Ok(self.map.remove(key.as_str()).is_some())
    }

    fn list(&mut self, prefix: &str, after: &str, limit: usize) -> Result<(Vec<Field>, bool), TurnError> {
        let mut matching = self.map.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let page = matching.by_ref().take(limit);
        let items = page.map(|(key, value)| Field { key: key.clone(), value: value.clone() }).collect();
        Ok((items, matching.next().is_some()))
    }

    fn clear(&mut self) -> Result<(), TurnError> {
        self.writable()?;
        self.map.clear();
        Ok(())
    }

    fn emit(&mut self, emitted: Emitted) -> Result<(), TurnError> {
        self.writable()?;
        self.emitted.push(emitted);
        Ok(())
    }

    fn send(&mut self, _: Letter) -> Result<(), TurnError> {
        self.writable()
    }

    fn cancel(&mut self, _: &FieldKey) -> Result<bool, TurnError> {
        self.writable().map(|()| false)
    }

    /// Whatever is called gives back what it was given.
    fn call(
        &mut self,
        _: &Call,
        callee: Callee,
        _: Instant,
    ) -> BoxFuture<'static, Result<Called, TurnError>> {
        std::future::ready(Ok(Ok(callee.payload))).boxed()
    }

    fn exit(&self) -> Exit {
        let gate: PassGate = Box::new(|_| std::future::ready(Ok(())).boxed());
        Exit { reads_only: self.readonly, made: Arc::default(), gate }
    }

    fn others(&self) -> Arc<dyn OtherObjects> {
        Arc::new(NoOthers)
    }
}

/// Every object has every field, and no class lists any.
struct NoOthers;

impl OtherObjects for NoOthers {
    fn read<'a>(
        &'a self,
        _: &'a ClassName,
        id: &'a ObjectId,
        key: &'a FieldKey,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<Bytes>, TurnError>> {
        std::future::ready(Ok(Some(Bytes::from(format!("{id}/{key}"))))).boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'a ClassName,
        _: &'a str,
        _: &'a str,
        _: usize,
        _: Instant,
    ) -> BoxFuture<'a, Result<(Vec<ObjectEntry>, bool), TurnError>> {
        std::future::ready(Ok((Vec::new(), false))).boxed()
    }
}
