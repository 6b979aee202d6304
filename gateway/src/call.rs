//! What a handler is given besides its resource and body.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::http::request::Parts;

use crate::access::{Identity, Need};
use crate::admission::Deadline;
use crate::app::App;
use crate::body::{Inbound, Whole, read_whole};
use crate::problem::Refusal;

/// One admitted request.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) parts: &'a Parts,
    pub(crate) identity: &'a Identity,
    pub(crate) need: Need<'a>,
    pub(crate) deadline: Deadline,
}

impl Call<'_> {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    pub(crate) fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    /// Reads the body whole, within the call's deadline and the gateway's patience.
    pub(crate) async fn read(&self, body: Inbound, bytes_max: usize) -> Result<Whole, Refusal> {
        let patience =
            tokio::time::Instant::now() + std::time::Duration::from_millis(self.app.config.body_ms);
        let bytes_max = self.identity.body_bytes_max(bytes_max);
        let whole = read_whole(body, bytes_max, self.deadline.at.min(patience), &self.app.admission).await?;
        self.still_may(self.need)?;
        Ok(whole)
    }

    /// Asks once more whether the caller may do this, now that its body is there: that may have taken long, and the key may
    /// have been revoked meanwhile.
    ///
    /// # Errors
    /// `unauthenticated`, `denied`.
    pub(crate) fn still_may(&self, need: Need<'_>) -> Result<(), Refusal> {
        self.app.guard.still(self.identity, &self.app.view())?.check(need)
    }
}
