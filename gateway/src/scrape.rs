//! `GET /metrics`: what this process does, for Prometheus.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use oprc_mesh::metrics::CONTENT_TYPE;
use oprc_mesh::outcome::{Code, Effect};

use crate::app::App;
use crate::problem::Refusal;
use crate::query::Query;
use crate::reply::{Reply, bytes};

/// Answers with the page. However many ask at once, one page is made at a time, so it needs no place among the calls.
pub(crate) async fn read(app: &App, query: Option<&str>) -> Result<Reply, Refusal> {
    Query::parse(query, &[])?;
    match app.page.text().await {
        Ok(text) => {
            let text = Bytes::copy_from_slice(text.as_bytes());
            Ok(bytes(StatusCode::OK, HeaderValue::from_static(CONTENT_TYPE), text))
        }
        Err(error) => Err(Refusal::new(Code::Internal, error.to_string()).effect(Effect::NotRun)),
    }
}
