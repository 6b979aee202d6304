//! Whose web pages may use the gateway from a browser: none unless the operator names their origins.

use std::time::Duration;

use hyper::header::{ETAG, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Uri};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

/// How long a browser may remember what it was answered beforehand.
const MAX_AGE: Duration = Duration::from_mins(10);
/// Origins that an operator may name.
const ORIGINS_MAX: usize = 64;

/// Whose pages may use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origins {
    /// Nobody's.
    #[default]
    None,
    /// Everybody's, but without a browser's own credentials (cookies, client certificates); keys are sent as headers.
    Any,
    /// Those of these origins.
    Only(Vec<HeaderValue>),
}

/// Why a text names no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It has another form.
    #[error(
        "{0:?} is not an origin: allowed is SCHEME://HOST or SCHEME://HOST:PORT without a path, or * for all"
    )]
    Form(String),
    /// `*` and others.
    #[error("* stands for all origins: name it alone")]
    Mixed,
    /// More than [`ORIGINS_MAX`].
    #[error("{0} origins are more than the {ORIGINS_MAX} that are allowed")]
    Many(usize),
}

impl Origins {
    /// Those that an operator names; none named is nobody.
    ///
    /// # Errors
    /// [`OriginError`].
    pub fn parse(texts: &[String]) -> Result<Self, OriginError> {
        match texts {
            [] => Ok(Self::None),
            [any] if any == "*" => Ok(Self::Any),
            _ if texts.iter().any(|text| text == "*") => Err(OriginError::Mixed),
            _ if texts.len() > ORIGINS_MAX => Err(OriginError::Many(texts.len())),
            _ => texts.iter().map(|text| origin(text)).collect::<Result<_, _>>().map(Self::Only),
        }
    }

    /// What answers for them; none when nobody's pages may use it.
    pub(crate) fn layer(&self) -> Option<CorsLayer> {
        let (origin, credentials) = match self {
            Self::None => return None,
            Self::Any => (AllowOrigin::any(), false),
            Self::Only(origins) => (AllowOrigin::list(origins.clone()), true),
        };
        let layer = CorsLayer::new()
            .allow_origin(origin)
            .allow_credentials(credentials)
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            // a function may be sent any `x-` header
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers([
                ETAG,
                LOCATION,
                RETRY_AFTER,
                HeaderName::from_static("oprc-version"),
                HeaderName::from_static("oprc-invocation-id"),
                HeaderName::from_static("oprc-stale-ms"),
                HeaderName::from_static("idempotency-replayed"),
                HeaderName::from_static("preference-applied"),
            ])
            .max_age(MAX_AGE);
        Some(layer)
    }
}

/// As browsers write one: in small letters, without a path, and without the scheme's usual port.
fn origin(text: &str) -> Result<HeaderValue, OriginError> {
    let refused = || OriginError::Form(text.chars().take(80).collect());
    let uri: Uri = text.parse().map_err(|_| refused())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
    let usual = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let is_written_so = text == format!("{scheme}://{authority}").to_lowercase();
    if !is_written_so
        || authority.as_str().contains('@')
        || (usual.is_some() && authority.port_u16() == usual)
    {
        return Err(refused());
    }
    HeaderValue::from_str(text).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use tower::{Layer as _, service_fn};

    use super::*;

    fn parse(texts: &[&str]) -> Result<Origins, OriginError> {
        Origins::parse(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        assert_eq!(parse(&[]), Ok(Origins::None));
        assert_eq!(parse(&["*"]), Ok(Origins::Any));
        for good in
            ["https://app.example", "http://localhost:3000", "http://[::1]:8000", "https://a.example:80"]
        {
            assert_eq!(
                parse(&[good]),
                Ok(Origins::Only(vec![HeaderValue::from_str(good).unwrap()])),
                "{good}"
            );
        }
        for bad in [
            "",
            "app.example",
            "https://",
            "https://app.example/",
            "https://app.example/path",
            "https://App.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://user@app.example",
            "https://a.example,https://b.example",
            "null",
            "https://*.example/",
        ] {
            let told = parse(&[bad]).unwrap_err().to_string();
            assert!(told.contains(&format!("{bad:?}")), "{told}");
        }
        assert_eq!(parse(&["*", "https://a.example"]), Err(OriginError::Mixed));
        let many = vec!["https://a.example"; ORIGINS_MAX + 1];
        assert!(parse(&many[1..]).is_ok());
        assert_eq!(parse(&many), Err(OriginError::Many(ORIGINS_MAX + 1)));
    }

    #[test]
    fn credentials_are_for_origins_that_are_named() {
        assert!(parse(&[]).unwrap().layer().is_none());
        // the rules refuse credentials for everybody by a panic: making a service of them is the proof
        for origins in [parse(&["*"]), parse(&["https://a.example"])] {
            let layer = origins.unwrap().layer().unwrap();
            drop(layer.layer(service_fn(|(): ()| async { Ok::<_, Infallible>(()) })));
        }
    }
}
