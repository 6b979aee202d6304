//! How a process joins the mesh, and whom it lets in there.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use oprc_mesh::{MeshConfig, MeshSecret};

use crate::args::{LinkArgs, MeshArgs, MeshSecretArgs};
use crate::failure::Failure;

/// Where hosts and routers listen on the mesh when neither a flag nor a file says so.
const MESH_LISTEN: &str = "tcp/127.0.0.1:7447";
/// Of a file for a secret, so much is read at the most.
const FILE_BYTES_MAX: u64 = 4_096;

/// What the flags of a host or gateway come to, with `listen` as it was given.
///
/// # Errors
/// See [`of_links`].
pub(super) fn config(args: MeshArgs, listen: Vec<String>, auth: bool) -> Result<MeshConfig, Failure> {
    Ok(MeshConfig { cluster: args.cluster, ..of_links(args.links, listen, auth)? })
}

/// The same of a process that belongs to no cluster in particular. With `auth` it serves only those who show a key.
///
/// # Errors
/// A secret that is none or that others can read; an endpoint that lets in whoever comes, without a word that this is
/// meant, where others than this machine's users come, or where they would get around keys.
pub(super) fn of_links(links: LinkArgs, listen: Vec<String>, auth: bool) -> Result<MeshConfig, Failure> {
    let LinkArgs { join, zenoh_config, secret: args } = links;
    let secret = secret(&args)?;
    let config = MeshConfig { listen, connect: join, zenoh_config, secret, ..MeshConfig::default() };
    if args.allow_anonymous_mesh {
        return Ok(config);
    }
    let open = config.open_endpoints().map_err(|error| Failure::role("joining the mesh", error))?;
    let Some(open) = open.into_iter().find(|open| auth || !open.local) else { return Ok(config) };
    let why = if open.local {
        "is open to whoever comes, who would need no key there"
    } else {
        "is reached from other machines, and whoever links with it could do everything"
    };
    Err(Failure::Usage(format!(
        "mesh endpoint {} {why}: give --mesh-secret-file, or --allow-anonymous-mesh if that is meant",
        open.endpoint
    )))
}

/// Without a flag a configuration file says where, so that nothing listens beside what it secures.
pub(super) fn listen(flag: Vec<String>, links: &LinkArgs) -> Vec<String> {
    if flag.is_empty() && links.zenoh_config.is_none() { vec![MESH_LISTEN.to_owned()] } else { flag }
}

fn secret(args: &MeshSecretArgs) -> Result<Option<MeshSecret>, Failure> {
    let usage = |from: &str, error| Failure::Usage(format!("{from}: {error}"));
    if let Some(file) = &args.mesh_secret_file {
        let text = read(file)?;
        let secret = MeshSecret::parse(text.trim());
        return secret.map(Some).map_err(|error| usage(&file.display().to_string(), error));
    }
    let secret = args.mesh_secret.as_ref().map(|text| MeshSecret::parse(text.reveal()));
    secret.transpose().map_err(|error| usage("--mesh-secret", error))
}

/// Reads a file that only its owner may read.
fn read(file: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Read { what: file.display().to_string(), source };
    let opened = File::open(file).map_err(failed)?;
    // of the file that was opened: another one may take its name meanwhile
    let mode = opened.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::Usage(format!(
            "{} holds a secret, and others than its owner may use it (mode {:03o}): chmod 600",
            file.display(),
            mode & 0o777
        )));
    }
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn links(secret: MeshSecretArgs) -> LinkArgs {
        LinkArgs { join: Vec::new(), zenoh_config: None, secret }
    }

    fn at(endpoint: &str, auth: bool, secret: MeshSecretArgs) -> Result<MeshConfig, String> {
        of_links(links(secret), vec![endpoint.to_owned()], auth).map_err(|failure| failure.to_string())
    }

    fn shown(secret: &str) -> MeshSecretArgs {
        MeshSecretArgs { mesh_secret: Some(secret.to_owned().into()), ..MeshSecretArgs::default() }
    }

    #[test]
    fn a_public_endpoint_needs_a_secret_or_a_word() {
        for public in ["tcp/0.0.0.0:7447", "tcp/[::]:7447", "tls/10.0.0.1:7447"] {
            let told = at(public, false, MeshSecretArgs::default()).unwrap_err();
            assert!(told.contains(public) && told.contains("--mesh-secret-file"), "{told}");
            assert!(at(public, false, shown(SECRET)).unwrap().secret.is_some());
            let word = MeshSecretArgs { allow_anonymous_mesh: true, ..MeshSecretArgs::default() };
            assert!(at(public, true, word).unwrap().secret.is_none());
        }
    }

    #[test]
    fn keys_are_not_gone_around_on_this_machine() {
        let local = "tcp/127.0.0.1:7447";
        assert!(at(local, false, MeshSecretArgs::default()).is_ok());
        assert!(at(local, true, MeshSecretArgs::default()).unwrap_err().contains("key"));
        assert!(at(local, true, shown(SECRET)).is_ok());
        assert!(of_links(links(MeshSecretArgs::default()), Vec::new(), true).is_ok(), "it listens nowhere");
    }

    #[test]
    fn a_secret_is_long_and_its_owners_alone() {
        let told = at("tcp/127.0.0.1:1", false, shown("short")).unwrap_err();
        assert!(told.contains("--mesh-secret") && !told.contains("short:"), "{told}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let with = |mode: u32, text: &str| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let args = MeshSecretArgs { mesh_secret_file: Some(file.clone()), ..shown("ignored") };
            at("tcp/127.0.0.1:1", false, args)
        };
        let read = with(0o600, &format!("{SECRET}\n")).unwrap();
        assert_eq!(read.secret, MeshSecret::parse(SECRET).ok());
        assert!(with(0o400, SECRET).is_ok());
        for mode in [0o640, 0o604, 0o620] {
            let told = with(mode, SECRET).unwrap_err();
            assert!(told.contains("chmod 600") && told.contains("secret"), "{told}");
        }
        assert!(with(0o600, "short").unwrap_err().contains("32"));
        fs::remove_file(&file).unwrap();
        let args = MeshSecretArgs { mesh_secret_file: Some(file.clone()), ..MeshSecretArgs::default() };
        assert!(at("tcp/127.0.0.1:1", false, args).unwrap_err().contains("secret"));
    }

    #[test]
    fn a_host_listens_somewhere_unless_a_file_says_where() {
        let links = |zenoh_config| LinkArgs { zenoh_config, ..links(MeshSecretArgs::default()) };
        assert_eq!(listen(Vec::new(), &links(None)), [MESH_LISTEN]);
        assert!(listen(Vec::new(), &links(Some("x".into()))).is_empty());
        assert_eq!(listen(vec!["tcp/a:1".into()], &links(None)), ["tcp/a:1"]);
    }
}
