//! Rust types and traits for the package `oprc:odgm`, made from `wit/` at compile time.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "made by a macro")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "oprc:odgm/generic",
    imports: { default: trappable },
});
