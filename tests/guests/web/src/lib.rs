//! Does what `wit/world.wit` says of each function; what is served stands in `serve.rs`.

mod send;
mod serve;

use oprc::odgm::fields;
use wasi::http::types::{IncomingRequest, ResponseOutparam};

wit_bindgen::generate!({
    path: ["../../../guest-examples/wasi", "../../../wit", "wit"],
    world: "test:web/web",
    generate_all,
});

struct Web;

impl Guest for Web {
    fn fetch(wish: Wish) -> String {
        send::told(&wish)
    }

    fn peek(wish: Wish) -> String {
        send::told(&wish)
    }

    fn fetch_and_count(wish: Wish) -> String {
        fields::set("before", b"1");
        let told = send::told(&wish);
        fields::increment("calls", 1);
        told
    }

    fn fetch_and_fail(wish: Wish) -> Result<(), String> {
        fields::set("before", b"1");
        Err(send::told(&wish))
    }

    fn burst(url: String, count: u32) -> Vec<String> {
        send::burst(&url, count)
    }

    fn upload(url: String, bytes: u64) -> String {
        send::upload(&url, bytes)
    }

    fn download(url: String) -> String {
        send::download(&url)
    }

    fn put(key: String, value: String) {
        fields::set(&key, value.as_bytes());
    }
}

impl exports::wasi::http::incoming_handler::Guest for Web {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        serve::serve(request, answer);
    }
}

export!(Web);
