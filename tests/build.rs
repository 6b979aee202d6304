//! Makes clients of the gateway's gRPC services, as a foreign project would: from the `.proto` files alone.

use std::error::Error;

const FILES: [&str; 4] = ["call", "event", "invocation", "object"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../gateway/proto");
    let files = FILES.map(|name| format!("oprc/v1/{name}.proto"));
    let descriptors = protox::compile(files, ["../gateway/proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(descriptors)?;
    Ok(())
}
