//! Who may use a gateway that this process runs.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use oprc_gateway::Access;
use oprc_mesh::access::Token;

use crate::args::AccessArgs;
use crate::commands::key::new_token;
use crate::failure::Failure;

/// The operator's own token, in the data directory of `oprc up`.
const ROOT_KEY: &str = "root-key";

/// What the flags come to. `data_dir` is where the operator's own token lies, or is put, unless a flag names a file.
///
/// # Errors
/// A public address without identity and without a word that this is meant; a file that holds no token.
pub(super) fn access(
    args: &AccessArgs,
    listen: SocketAddr,
    data_dir: Option<&Path>,
) -> Result<Access, Failure> {
    check(args, listen)?;
    if !args.auth {
        return Ok(Access::Open);
    }
    let may_make = args.root_key_file.is_none();
    let root = root_key_file(args, data_dir).map(|file| root_key(&file, may_make)).transpose()?;
    Ok(Access::Keys { root: root.as_ref().map(Token::hash), jwt: args.jwt.config()?.map(Box::new) })
}

/// Where the token lies that the operator needs first; none without identity, or where there is no such token.
pub(super) fn root_key_file(args: &AccessArgs, data_dir: Option<&Path>) -> Option<PathBuf> {
    let file = || args.root_key_file.clone().or_else(|| data_dir.map(|dir| dir.join(ROOT_KEY)));
    args.auth.then(file).flatten()
}

/// Refuses what does not go together, and a public address without identity and without a word that this is meant.
pub(super) fn check(args: &AccessArgs, listen: SocketAddr) -> Result<(), Failure> {
    if args.auth && args.allow_anonymous {
        return Err(Failure::Usage("--auth and --allow-anonymous contradict each other".into()));
    }
    if args.root_key_file.is_some() && !args.auth {
        return Err(Failure::Usage("--root-key-file needs --auth".into()));
    }
    if let Some(flag) = args.jwt.first().filter(|_| !args.auth) {
        return Err(Failure::Usage(format!("{flag} needs --auth: without it, everybody may do everything")));
    }
    args.jwt.config()?;
    if args.auth || listen.ip().is_loopback() || args.allow_anonymous {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{listen} is reached from other machines, and everybody there could do everything: give --auth, or \
         --allow-anonymous if that is meant"
    )))
}

fn root_key(file: &Path, may_make: bool) -> Result<Token, Failure> {
    let failed = |source| Failure::Read { what: file.display().to_string(), source };
    match fs::read_to_string(file) {
        Ok(text) => Token::parse(text.trim()).ok_or_else(|| {
            Failure::Usage(format!("{} holds no token; `oprc key token` makes one", file.display()))
        }),
        Err(error) if may_make && error.kind() == ErrorKind::NotFound => make(file),
        Err(error) => Err(failed(error)),
    }
}

/// For its owner's eyes alone.
fn make(file: &Path) -> Result<Token, Failure> {
    let token = new_token()?;
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        writeln!(file, "{}", token.reveal())?;
        file.sync_all()
    };
    written().map_err(|error| Failure::role(format!("writing {}", file.display()), error))?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::args::JwtArgs;

    fn args(auth: bool, root_key_file: Option<PathBuf>, allow_anonymous: bool) -> AccessArgs {
        AccessArgs { auth, root_key_file, allow_anonymous, jwt: JwtArgs::default() }
    }

    #[test]
    fn a_public_address_needs_a_word() {
        let at = |address: &str, allow| access(&args(false, None, allow), address.parse().unwrap(), None);
        assert!(matches!(at("127.0.0.1:8080", false), Ok(Access::Open)));
        assert!(matches!(at("[::1]:8080", false), Ok(Access::Open)));
        assert!(matches!(at("0.0.0.0:8080", true), Ok(Access::Open)));
        let listen = "127.0.0.1:1".parse().unwrap();
        assert!(access(&args(true, None, true), listen, None).is_err(), "they contradict each other");
        assert!(access(&args(false, Some("x".into()), false), listen, None).is_err(), "a token for nothing");
        for public in ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80"] {
            let told = at(public, false).unwrap_err().to_string();
            assert!(told.contains(public) && told.contains("--auth"), "{told}");
        }
    }

    #[test]
    fn a_jwt_is_nothing_without_identity() {
        let listen = "127.0.0.1:1".parse().unwrap();
        let issuer = JwtArgs { jwt_issuer: Some("x".into()), ..JwtArgs::default() };
        let told =
            check(&AccessArgs { jwt: issuer.clone(), ..args(false, None, false) }, listen).unwrap_err();
        assert!(told.to_string().contains("--jwt-issuer needs --auth"), "{told}");
        // and half of what it takes is refused before anything is started
        let told = check(&AccessArgs { jwt: issuer, ..args(true, None, false) }, listen).unwrap_err();
        assert!(told.to_string().contains("--jwt-jwks"), "{told}");
    }

    #[test]
    fn the_operators_token_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = |args: &AccessArgs| match access(args, "0.0.0.0:1".parse().unwrap(), Some(dir.path())) {
            Ok(Access::Keys { root, .. }) => Ok(root.unwrap()),
            Ok(Access::Open) => panic!("it is not open"),
            Err(failure) => Err(failure.to_string()),
        };
        let kept = args(true, None, false);
        let first = root(&kept).unwrap();
        assert_eq!(root(&kept).unwrap(), first);
        let file = root_key_file(&kept, Some(dir.path())).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // a file that is named must be there, and hold one
        let named = dir.path().join("named");
        let told = root(&args(true, Some(named.clone()), false)).unwrap_err();
        assert!(told.contains("named"), "{told}");
        fs::write(&named, "no token\n").unwrap();
        let told = root(&args(true, Some(named.clone()), false)).unwrap_err();
        assert!(told.contains("oprc key token"), "{told}");
        let other = new_token().unwrap();
        fs::write(&named, format!("{}\n", other.reveal())).unwrap();
        assert_eq!(root(&args(true, Some(named), false)).unwrap(), other.hash());
    }
}
