//! `wasi:http` for guests: the requests that a turn sends, and those that a class serves.
//!
//! What belongs to a turn lies in its store and ends with it: nothing of one request is seen by another turn.

mod departure;
mod served;

use std::sync::Arc;

use oprc_mesh::outcome::Problem;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::state::State;
use departure::Departures;

pub(crate) use served::HttpRequest;

/// A turn's own part of it.
pub(super) struct HttpSide {
    ctx: WasiHttpCtx,
    departures: Departures,
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let Self { http, table, call, access, outgoing, until, .. } = self;
        let side = http.get_or_insert_with(|| {
            let departures = Departures::new(outgoing.clone(), Arc::clone(call), &**access, *until);
            Box::new(HttpSide { ctx: WasiHttpCtx::new(), departures })
        });
        let HttpSide { ctx, departures } = &mut **side;
        WasiHttpCtxView { hooks: departures, table, ctx }
    }
}

impl State {
    /// What the guest did with HTTP that ends its turn, whatever it made of the error that it was given.
    pub(super) fn take_misuse(&mut self) -> Option<Problem> {
        self.http.as_mut().and_then(|side| side.departures.take_misuse())
    }
}
