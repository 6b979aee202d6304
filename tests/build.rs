//! Makes clients of the gateway's gRPC services, as a foreign project would: from the `.proto` files alone.
//! The names of all methods are kept for those who go through them.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const FILES: [&str; 4] = ["call", "event", "invocation", "object"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../gateway/proto");
    let files = FILES.map(|name| format!("oprc/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["../gateway/proto"])?;
    let services =
        descriptors.file.iter().flat_map(|file| file.service.iter().map(move |one| (file.package(), one)));
    let methods = services.flat_map(|(package, service)| {
        service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
    });
    let methods: Vec<_> = methods.collect();
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("methods.rs"), format!("{methods:?}"))?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
