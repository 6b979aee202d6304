//! `--zenoh-config` brings mutual TLS: who has a certificate of the mesh's authority is let in, a stranger is not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use common::{free_endpoint, host, name_of, until_received, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::{Lane, Mesh, MeshConfig, Peers as _, Router};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);

/// An authority, with its certificate in `folder`.
fn authority(folder: &Path, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join(format!("{name}.pem")), issuer.pem()).unwrap();
    issuer
}

/// A Zenoh configuration for mutual TLS, trusting the authority `trusted`, with a certificate of `issuer` if there is one.
fn settings(
    folder: &Path,
    name: &str,
    trusted: &str,
    issuer: Option<&CertifiedIssuer<'static, KeyPair>>,
) -> PathBuf {
    let path = |file: &str| folder.join(file).display().to_string();
    let mut tls = format!("root_ca_certificate: '{}', enable_mtls: true", path(&format!("{trusted}.pem")));
    if let Some(issuer) = issuer {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&key, issuer).unwrap();
        let (cert, private) = (path(&format!("{name}.cert.pem")), path(&format!("{name}.key.pem")));
        fs::write(&cert, certificate.pem()).unwrap();
        fs::write(&private, key.serialize_pem()).unwrap();
        for side in ["listen", "connect"] {
            write!(tls, ", {side}_private_key: '{private}', {side}_certificate: '{cert}'").unwrap();
        }
    }
    let file = folder.join(format!("{name}.json5"));
    fs::write(&file, format!("{{ transport: {{ link: {{ tls: {{ {tls} }} }} }} }}")).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_let_in_and_strangers_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ours = authority(folder, "ours");
    let theirs = authority(folder, "theirs");
    let endpoint = free_endpoint().replace("tcp/127.0.0.1", "tls/localhost");
    let joining = |zenoh_config| MeshConfig {
        connect: vec![endpoint.clone()],
        zenoh_config: Some(zenoh_config),
        ..MeshConfig::default()
    };

    let config = MeshConfig {
        listen: vec![endpoint.clone()],
        zenoh_config: Some(settings(folder, "router", "ours", Some(&ours))),
        ..MeshConfig::default()
    };
    let router = Router::open(&config).await.unwrap();
    // no certificate at all, and one of another authority (which even trusts ours)
    let nobody = Mesh::open(joining(settings(folder, "nobody", "ours", None))).await.unwrap();
    let stranger = Mesh::open(joining(settings(folder, "stranger", "ours", Some(&theirs)))).await.unwrap();

    let (one, _) = host(ONE, joining(settings(folder, "one", "ours", Some(&ours)))).await;
    let (two, at_two) = host(TWO, joining(settings(folder, "two", "ours", Some(&ours)))).await;
    until_seen(&one, TWO, true).await;
    until_seen(&two, ONE, true).await;
    until_received(ONE, &one, TWO, &at_two, Lane::Data).await;
    assert_eq!(name_of(&two, ONE).await.unwrap(), ONE.to_string());

    // the strangers came first and tried as long; a member that comes now is let in while they still are not
    let late = Mesh::open(joining(settings(folder, "late", "ours", Some(&ours)))).await.unwrap();
    until_seen(&late, ONE, true).await;
    for outsider in [&nobody, &stranger] {
        assert!(outsider.watch_nodes().borrow().is_empty());
        assert!(name_of(outsider, ONE).await.is_err());
    }
    for mesh in [nobody, stranger, one, two, late] {
        mesh.close().await;
    }
    router.close().await;
}
