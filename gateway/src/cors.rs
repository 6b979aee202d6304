//! Answers web pages of other origins (CORS, the Fetch standard), by `tower_http`'s rules for those that [`crate::origins`]
//! names. A browser's question beforehand (a preflight) shows no credentials and is answered without any: it tells what
//! browsers may ask, and nothing of what there is.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use hyper::{Method, Request};
use tower::{Layer as _, Service as _, service_fn};

use crate::app::App;
use crate::reply::Reply;
use crate::traced;

/// Answers one request, by these rules if there are any.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Reply {
    let Some(cors) = app.cors.as_ref().filter(|_| !is_plain_options(&request)) else {
        return traced::answer(app, request).await;
    };
    let own = service_fn(|request| async move { Ok::<_, Infallible>(traced::answer(app, request).await) });
    match cors.layer(own).call(request).await {
        Ok(reply) => reply,
        Err(never) => match never {},
    }
}

/// OPTIONS that no browser asks beforehand: no resource takes it.
fn is_plain_options<B>(request: &Request<B>) -> bool {
    let asks = |name| request.headers().contains_key(name);
    request.method() == Method::OPTIONS && !(asks(ORIGIN) && asks(ACCESS_CONTROL_REQUEST_METHOD))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_browsers_question_is_answered_beforehand() {
        let request = |method: Method, headers: &[&str]| {
            let request = headers
                .iter()
                .fold(Request::builder().method(method), |request, name| request.header(*name, "x"));
            request.body(()).unwrap()
        };
        assert!(is_plain_options(&request(Method::OPTIONS, &[])));
        assert!(is_plain_options(&request(Method::OPTIONS, &["origin"])));
        assert!(!is_plain_options(&request(Method::OPTIONS, &["origin", "access-control-request-method"])));
        assert!(!is_plain_options(&request(Method::GET, &[])));
    }
}
