//! Rust types and traits for the package `oprc:odgm`, made from `wit/` at compile time.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "made by a macro")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "oprc:odgm/generic",
    // only what may have to ask another host waits: a call that does not is cheaper
    imports: {
        "oprc:odgm/objects.get": async | trappable,
        "oprc:odgm/objects.list": async | trappable,
        "oprc:odgm/objects.invoke": async | trappable,
        "oprc:odgm/objects.call": async | trappable,
        default: trappable,
    },
});
