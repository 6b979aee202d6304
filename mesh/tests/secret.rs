//! A mesh secret: who has it is let in, and who has another one or none is not, whichever side calls.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{free_endpoint, host, name_of, until_received, until_seen};
use oprc_mesh::id::NodeId;
use oprc_mesh::testing::{Manner, Stranger};
use oprc_mesh::{Lane, Mesh, MeshConfig, MeshSecret, Peers as _, Router};

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const OURS: &str = "our:secret-our:secret-our:secret-our:secret";
const THEIRS: &str = "their-secret-their-secret-their-secret";

fn joining(endpoint: &str, secret: Option<&str>) -> MeshConfig {
    let secret = secret.map(|text| MeshSecret::parse(text).unwrap());
    MeshConfig { connect: vec![endpoint.into()], secret, ..MeshConfig::default() }
}

async fn router(secret: Option<&str>) -> (Router, String) {
    let endpoint = free_endpoint();
    let config = MeshConfig { listen: vec![endpoint.clone()], connect: Vec::new(), ..joining("", secret) };
    (Router::open(&config).await.unwrap(), endpoint)
}

fn client(shown: Option<(&str, &str)>) -> Manner {
    let shown = shown.map(|(user, password)| (user.to_owned(), password.to_owned()));
    Manner { client: true, shown, ..Manner::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_secret_is_let_in_and_nobody_else() {
    let (router, endpoint) = router(Some(OURS)).await;
    // they come first, and go on trying
    let nobody = Mesh::open(joining(&endpoint, None)).await.unwrap();
    let stranger = Mesh::open(joining(&endpoint, Some(THEIRS))).await.unwrap();

    let (one, _) = host(ONE, joining(&endpoint, Some(OURS))).await;
    let (two, at_two) = host(TWO, joining(&endpoint, Some(OURS))).await;
    until_seen(&one, TWO, true).await;
    until_seen(&two, ONE, true).await;
    until_received(ONE, &one, TWO, &at_two, Lane::Data).await;
    let late = Mesh::open(joining(&endpoint, Some(OURS))).await.unwrap();
    until_seen(&late, ONE, true).await;
    for outsider in [&nobody, &stranger] {
        assert!(outsider.watch_nodes().borrow().is_empty());
        assert!(name_of(outsider, ONE).await.is_err());
    }

    // other people's programs as well
    let member = Stranger::link(&endpoint, &client(Some(("oprc", OURS)))).await.unwrap();
    for shown in [None, Some(("oprc", THEIRS)), Some(("other", OURS)), Some(("oprc", ""))] {
        assert!(Stranger::link(&endpoint, &client(shown)).await.is_err(), "{shown:?}");
    }
    member.leave().await;
    for mesh in [nobody, stranger, one, two, late] {
        mesh.close().await;
    }
    router.close().await;
}

/// A member calls whom it is told to, and does not link with whoever asks for no secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_links_with_members_alone() {
    let (router, endpoint) = router(None).await;
    let (member, _) = host(ONE, joining(&endpoint, Some(OURS))).await;
    let (two, _) = host(TWO, joining(&endpoint, None)).await;
    let late = Mesh::open(joining(&endpoint, None)).await.unwrap();
    until_seen(&late, TWO, true).await;
    assert!(!late.watch_nodes().borrow().contains(&ONE));
    assert!(!member.watch_nodes().borrow().contains(&TWO));
    for mesh in [member, two, late] {
        mesh.close().await;
    }
    router.close().await;
}
