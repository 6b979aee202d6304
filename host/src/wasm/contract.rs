//! What a component is to us: its methods, found and checked once. Everything that would make a call fail by the
//! component's shape is refused here, at deploy, with a sentence that says what to change.

use std::collections::BTreeMap;

use oprc_mesh::catalog::Method;
use oprc_mesh::id::MethodName;
use oprc_mesh::outcome::{Code, Problem};
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::value::{NODES_MAX, Signature, Wit, take_over};

/// Methods of one component, at the most.
const METHODS_MAX: usize = 500;
/// All signatures of one component as text: they travel with the catalog.
const SIGNATURES_BYTES_MAX: usize = 256 * 1024;
/// The catch-all style's export; any 0.1 will do.
const HANDLER: &str = "oprc:odgm/handler@0.1.";
/// What serves HTTP; any 0.2 will do.
const HTTP_HANDLER: &str = "wasi:http/incoming-handler@0.2.";
/// Unknown imports that an error names.
const NAMED_MAX: usize = 8;

/// Interfaces that a component may import, without their versions. The linker checks versions and types; this list is
/// for naming what is not offered at all.
const OFFERED: &[&str] = &[
    "oprc:odgm/context",
    "oprc:odgm/events",
    "oprc:odgm/fields",
    "oprc:odgm/messages",
    "oprc:odgm/objects",
    "oprc:odgm/triggers",
    "oprc:odgm/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// What a component offers.
pub(super) struct Offer {
    pub(super) contract: Contract,
    /// It serves HTTP by this function.
    pub(super) http: Option<ComponentExportIndex>,
}

/// A component's callable exports.
pub(super) enum Contract {
    /// One export per method, by name.
    Typed(BTreeMap<String, Export>),
    /// `oprc:odgm/handler.invoke` takes every call.
    Generic(ComponentExportIndex),
}

/// One exported function.
pub(super) struct Export {
    pub(super) signature: Signature,
    pub(super) index: ComponentExportIndex,
    /// `func(list<u8>) -> list<u8>`: called without a value per byte.
    pub(super) bytes_to_bytes: bool,
}

pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidComponent, detail)
}

/// Looks at a binary's first bytes, for the mistakes that people make.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), Problem> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
    if !bytes.starts_with(MAGIC) {
        return Err(invalid("this is not WebAssembly: it does not begin with the bytes \"\\0asm\""));
    }
    if bytes[MAGIC.len()..].starts_with(CORE_MODULE) {
        let hint = "build for the target wasm32-wasip2 (`cargo build --target wasm32-wasip2`) or with `cargo component build`, \
                    or wrap the module with `wasm-tools component new`";
        return Err(invalid("this is a core WebAssembly module, not a component").hint(hint));
    }
    Ok(())
}

/// Refuses a component that imports an interface which nobody here offers.
pub(super) fn check_imports(component: &Component, engine: &Engine) -> Result<(), Problem> {
    let ty = component.component_type();
    let unknown: Vec<_> = ty
        .imports(engine)
        .map(|(name, _)| name)
        .filter(|name| !OFFERED.contains(&name.split('@').next().unwrap_or(name)))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = unknown.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
    let more = if unknown.len() > NAMED_MAX { " and more" } else { "" };
    let detail = format!("the component imports {}{more}, which this host does not offer", named.join(", "));
    Err(invalid(detail)
        .hint("offered are WASI 0.2 (cli, clocks, filesystem, http, io, random, sockets) and oprc:odgm@0.1"))
}

impl Offer {
    /// Finds and checks the exports.
    pub(super) fn of(component: &Component, engine: &Engine) -> Result<Self, Problem> {
        let mut exports = Exports { component, found: BTreeMap::new(), text_bytes: 0 };
        let (mut handler, mut http) = (None, None);
        for (name, item) in component.component_type().exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(func) => exports.add(None, name, &func)?,
                ComponentItem::ComponentInstance(instance) if name.starts_with(HTTP_HANDLER) => {
                    let handle = instance.get_export(engine, "handle").map(|item| item.ty);
                    http = Some(http_index(component, name, handle)?);
                }
                // Entry points for other hosts, such as the `wasi:cli/run` of every command.
                ComponentItem::ComponentInstance(_) if name.starts_with("wasi:") => {}
                ComponentItem::ComponentInstance(instance) => {
                    let parent = component.get_export_index(None, name);
                    if name.starts_with(HANDLER) {
                        handler = Some(handler_index(
                            component,
                            parent.as_ref(),
                            name,
                            instance.get_export(engine, "invoke").map(|item| item.ty),
                        )?);
                        continue;
                    }
                    for (inner, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(func) = item.ty {
                            exports.add(parent.as_ref(), inner, &func)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(Self { contract: Contract::choose(exports.found, handler, http.is_some())?, http })
    }
}

impl Contract {
    fn choose(
        methods: BTreeMap<String, Export>,
        handler: Option<ComponentExportIndex>,
        serves_http: bool,
    ) -> Result<Self, Problem> {
        match (handler, methods.first_key_value()) {
            (Some(handler), None) => Ok(Self::Generic(handler)),
            (None, Some(_)) => Ok(Self::Typed(methods)),
            (None, None) if serves_http => Ok(Self::Typed(methods)),
            (Some(_), Some((name, _))) => Err(invalid(format!(
                "the component exports oprc:odgm/handler and also the function `{name}`: all calls would go to the handler"
            ))
            .hint("export either the handler or functions of your own")),
            (None, None) => Err(invalid("the component exports no function that could be called")
                .hint(
                    "export functions in the world or in an interface of your own, oprc:odgm/handler@0.1.0, or \
                     wasi:http/incoming-handler@0.2.0",
                )),
        }
    }

    /// The methods as the catalog shows them, in name order; none for a generic component.
    ///
    /// # Errors
    /// `invalid-component` when a typed component has no method of a name in `readonly`.
    pub(super) fn describe(&self, readonly: &[String]) -> Result<Vec<Method>, Problem> {
        let Self::Typed(methods) = self else { return Ok(Vec::new()) };
        if let Some(absent) = readonly.iter().find(|name| !methods.contains_key(*name)) {
            let hint = format!("the component exports {}", names(methods));
            return Err(invalid(format!(
                "the manifest lists `{absent}` as read-only, but there is no such method"
            ))
            .hint(hint));
        }
        let described =
            methods.iter().map(|(name, export)| export.signature.describe(name, readonly.contains(name)));
        Ok(described.collect())
    }
}

/// The names of methods, for an error.
pub(super) fn names(methods: &BTreeMap<String, Export>) -> String {
    let mut names: Vec<_> = methods.keys().take(50).map(String::as_str).collect();
    if methods.len() > names.len() {
        names.push("...");
    }
    names.join(", ")
}

struct Exports<'a> {
    component: &'a Component,
    found: BTreeMap<String, Export>,
    text_bytes: usize,
}

impl Exports<'_> {
    fn add(
        &mut self,
        parent: Option<&ComponentExportIndex>,
        name: &str,
        func: &ComponentFunc,
    ) -> Result<(), Problem> {
        let signature = signature_of(name, func)?;
        MethodName::parse(name)
            .map_err(|error| invalid(format!("a function cannot be a method: {error}")))?;
        self.text_bytes += signature.describe(name, false).signature().len();
        if self.text_bytes > SIGNATURES_BYTES_MAX {
            return Err(invalid(format!(
                "the signatures together take more than {SIGNATURES_BYTES_MAX} bytes"
            )));
        }
        if self.found.len() == METHODS_MAX {
            return Err(invalid(format!("the component exports more than {METHODS_MAX} functions")));
        }
        let index = self
            .component
            .get_export_index(parent, name)
            .ok_or_else(|| Problem::new(Code::Internal, format!("the export `{name}` has no index")))?;
        let bytes_to_bytes = signature.takes_raw() && signature.result == Some(Wit::Bytes);
        let export = Export { signature, index, bytes_to_bytes };
        if self.found.insert(name.to_owned(), export).is_some() {
            let detail = format!("the component exports two functions of the name `{name}`");
            return Err(invalid(detail).hint("a method is called by its name alone: rename one of them"));
        }
        Ok(())
    }
}

fn signature_of(name: &str, func: &ComponentFunc) -> Result<Signature, Problem> {
    if func.async_() {
        return Err(invalid(format!("the function `{name}` is async, which is not supported")));
    }
    let mut budget = NODES_MAX;
    let mut wit = |ty: &_| {
        take_over(ty, &mut budget)
            .map_err(|why| invalid(format!("the function `{name}` takes or gives {why}")))
    };
    let params = func.params().map(|(name, ty)| Ok((name.to_owned(), wit(&ty)?)));
    let params = params.collect::<Result<_, Problem>>()?;
    let result = func.results().next().map(|ty| wit(&ty)).transpose()?;
    Ok(Signature { params, result })
}

/// Checks that the handler is ours by its types and not by its name only.
fn handler_index(
    component: &Component,
    parent: Option<&ComponentExportIndex>,
    name: &str,
    invoke: Option<ComponentItem>,
) -> Result<ComponentExportIndex, Problem> {
    let wrong = || invalid(format!("the export {name} is not the interface of that name in oprc:odgm@0.1.0"));
    let Some(ComponentItem::ComponentFunc(func)) = invoke else { return Err(wrong()) };
    let signature = signature_of("invoke", &func)?;
    let params: Vec<_> = signature.params.iter().map(|(_, ty)| ty).collect();
    let error = Wit::Variant(vec![("unknown-method".into(), None), ("failed".into(), Some(Wit::String))]);
    let result = Wit::Result(Some(Box::new(Wit::Bytes)), Some(Box::new(error)));
    if params != [&Wit::String, &Wit::Bytes] || signature.result != Some(result) {
        return Err(wrong());
    }
    component.get_export_index(parent, "invoke").ok_or_else(wrong)
}

/// Checks the shape of what serves HTTP; that its types are those of the host, linking has seen to.
fn http_index(
    component: &Component,
    name: &str,
    handle: Option<ComponentItem>,
) -> Result<ComponentExportIndex, Problem> {
    let wrong = || invalid(format!("the export {name} is not the interface of that name in wasi:http@0.2"));
    let Some(ComponentItem::ComponentFunc(func)) = handle else { return Err(wrong()) };
    let owned = func.params().filter(|(_, ty)| matches!(ty, Type::Own(_))).count();
    if owned != 2 || func.params().len() != 2 || func.results().len() != 0 {
        return Err(wrong());
    }
    let parent = component.get_export_index(None, name);
    component.get_export_index(parent.as_ref(), "handle").ok_or_else(wrong)
}
