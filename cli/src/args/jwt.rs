//! Flags about whose JWTs a gateway takes.

use clap::Args;
use oprc_gateway::{JwtConfig, KeySource};

use crate::failure::Failure;

/// The claim with who it is.
const SUBJECT_CLAIM: &str = "sub";
/// The claim with scopes (RFC 8693, 4.2).
const SCOPES_CLAIM: &str = "scope";

/// Whose JWTs count beside keys.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "JWT")]
#[allow(clippy::struct_field_names, reason = "the flags are called so")]
pub(crate) struct JwtArgs {
    /// Serve those as well who show a JWT by one of the keys here, beside those who show a key: a file with a JSON Web Key Set,
    /// looked at every second, or the https URL of the issuer's
    #[arg(long, env = "OPRC_JWT_JWKS", value_name = "FILE|URL")]
    pub(crate) jwt_jwks: Option<KeySource>,
    /// What claim `iss` of a JWT has to be
    #[arg(long, env = "OPRC_JWT_ISSUER", value_name = "ISSUER")]
    pub(crate) jwt_issuer: Option<String>,
    /// What claim `aud` of a JWT has to be or hold, so that none counts that the issuer made for somebody else
    #[arg(long, env = "OPRC_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub(crate) jwt_audience: Option<String>,
    /// The claim with scopes, a text with spaces between them or an array; one in another is written with dots, such as
    /// `realm_access.roles` [default: scope]
    #[arg(long, env = "OPRC_JWT_SCOPES_CLAIM", value_name = "CLAIM")]
    pub(crate) jwt_scopes_claim: Option<String>,
    /// What stands before each scope that is meant for here, such as oprc: in oprc:read:Counter; others are left aside
    #[arg(long, env = "OPRC_JWT_SCOPE_PREFIX", value_name = "PREFIX")]
    pub(crate) jwt_scope_prefix: Option<String>,
    /// The claim with who it is [default: sub]
    #[arg(long, env = "OPRC_JWT_SUBJECT_CLAIM", value_name = "CLAIM")]
    pub(crate) jwt_subject_claim: Option<String>,
}

impl JwtArgs {
    /// None when no JWT counts. Looked at here and not by the parser, which knows nothing of what a settings file says.
    ///
    /// # Errors
    /// A part without the others.
    pub(crate) fn config(&self) -> Result<Option<JwtConfig>, Failure> {
        let Some(keys) = self.jwt_jwks.clone() else {
            return match self.first() {
                None => Ok(None),
                Some(flag) => Err(Failure::Usage(format!("{flag} needs --jwt-jwks"))),
            };
        };
        let needed = |value: Option<&str>, flag: &str, why: &str| match value {
            None | Some("") => Err(Failure::Usage(format!("--jwt-jwks needs {flag}: {why}"))),
            Some(value) => Ok(value.to_owned()),
        };
        let or = |value: Option<&str>, usual: &str| value.unwrap_or(usual).to_owned();
        let issuer = "a JWT counts only if it names this issuer, exactly as its claim iss does";
        let audience = "without it, a JWT that the issuer made for another service would count here, and that service could use it";
        Ok(Some(JwtConfig {
            keys,
            issuer: needed(self.jwt_issuer.as_deref(), "--jwt-issuer", issuer)?,
            audience: needed(self.jwt_audience.as_deref(), "--jwt-audience", audience)?,
            subject_claim: or(self.jwt_subject_claim.as_deref(), SUBJECT_CLAIM),
            scopes_claim: or(self.jwt_scopes_claim.as_deref(), SCOPES_CLAIM),
            scope_prefix: or(self.jwt_scope_prefix.as_deref(), ""),
        }))
    }

    /// The first flag that is given.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let given = [
            (self.jwt_jwks.is_some(), "--jwt-jwks"),
            (self.jwt_issuer.is_some(), "--jwt-issuer"),
            (self.jwt_audience.is_some(), "--jwt-audience"),
            (self.jwt_scopes_claim.is_some(), "--jwt-scopes-claim"),
            (self.jwt_scope_prefix.is_some(), "--jwt-scope-prefix"),
            (self.jwt_subject_claim.is_some(), "--jwt-subject-claim"),
        ];
        given.into_iter().find_map(|(is_given, flag)| is_given.then_some(flag))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_said_is_what_most_issuers_do() {
        assert!(JwtArgs::default().config().unwrap().is_none());
        let args = JwtArgs {
            jwt_jwks: Some("keys.json".parse().unwrap()),
            jwt_issuer: Some("https://issuer.example".into()),
            jwt_audience: Some("oprc".into()),
            ..JwtArgs::default()
        };
        let config = args.config().unwrap().unwrap();
        assert_eq!((config.subject_claim.as_str(), config.scopes_claim.as_str()), ("sub", "scope"));
        assert_eq!((config.scope_prefix.as_str(), config.audience.as_str()), ("", "oprc"));
        let told = |args: JwtArgs| args.config().unwrap_err().to_string();
        assert!(told(JwtArgs { jwt_issuer: None, ..args.clone() }).contains("--jwt-issuer"));
        assert!(told(JwtArgs { jwt_audience: None, ..args.clone() }).contains("another service"));
        assert!(
            told(JwtArgs { jwt_audience: Some(String::new()), ..args.clone() }).contains("--jwt-audience")
        );
        assert!(told(JwtArgs { jwt_jwks: None, ..args }).contains("--jwt-jwks"));
        let alone = JwtArgs { jwt_scope_prefix: Some("oprc:".into()), ..JwtArgs::default() };
        assert!(told(alone).contains("--jwt-scope-prefix"));
    }
}
