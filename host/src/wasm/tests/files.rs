//! The component store and the compiled code on disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oprc_mesh::id::Digest;
use oprc_mesh::limits::{COMPONENT_BYTES_MAX, COMPONENT_CHUNK_BYTES};
use oprc_mesh::outcome::Code;
use oprc_mesh::wire::PutChunk;

use super::super::store::KEEP;
use super::{Fixture, gives, guest, runtime_in, upload};

fn chunk(whole: &[u8], offset: usize, length: usize) -> PutChunk {
    PutChunk {
        digest: Bytes::copy_from_slice(Digest::of(whole).as_bytes()),
        size: whole.len() as u64,
        offset: offset as u64,
        data: Bytes::copy_from_slice(&whole[offset..offset + length]),
        upload: "u".into(),
    }
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_component_is_there_once_it_is_whole() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let whole = [1, 2, 3, 4, 5];
    let digest = Digest::of(&whole);
    assert!(!store.put(chunk(&whole, 0, 2)).await.unwrap().complete);
    assert!(!store.contains(&digest));
    assert!(store.put(chunk(&whole, 2, 3)).await.unwrap().complete);
    assert!(store.contains(&digest));
    assert_eq!(files(&fixture.dir.path().join("components")).len(), 1);
    // Once more: it is there at the first piece.
    assert!(store.put(chunk(&whole, 0, 2)).await.unwrap().complete);
}

#[tokio::test]
async fn pieces_come_in_order_and_begin_anew_at_zero() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let whole = [1, 2, 3, 4, 5];
    assert_eq!(store.put(chunk(&whole, 2, 1)).await.unwrap_err().kind(), Code::Invalid);
    store.put(chunk(&whole, 0, 2)).await.unwrap();
    assert_eq!(store.put(chunk(&whole, 3, 1)).await.unwrap_err().kind(), Code::Invalid);
    assert_eq!(store.put(chunk(&whole, 2, 3)).await.unwrap_err().kind(), Code::Invalid, "the upload is over");
    store.put(chunk(&whole, 0, 2)).await.unwrap();
    store.put(chunk(&whole, 0, 4)).await.unwrap();
    assert!(store.put(chunk(&whole, 4, 1)).await.unwrap().complete);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let mut wrong = chunk(&[1, 2, 3], 0, 3);
    wrong.data = Bytes::from_static(&[1, 2, 4]);
    let problem = store.put(wrong).await.unwrap_err();
    assert_eq!(problem.kind(), Code::Invalid);
    assert!(problem.detail.contains("digest"), "{problem}");
    assert!(files(&fixture.dir.path().join("components")).is_empty());
}

#[tokio::test]
async fn sizes_hold_at_their_limits_and_not_past_them() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let whole = vec![0; COMPONENT_CHUNK_BYTES + 1];
    let problem = store.put(chunk(&whole, 0, COMPONENT_CHUNK_BYTES + 1)).await.unwrap_err();
    assert_eq!(problem.kind(), Code::PayloadTooLarge);
    let mut first = chunk(&whole, 0, COMPONENT_CHUNK_BYTES);
    first.size = COMPONENT_BYTES_MAX as u64 + 1;
    assert_eq!(store.put(first.clone()).await.unwrap_err().kind(), Code::PayloadTooLarge);
    first.size = COMPONENT_BYTES_MAX as u64;
    assert!(!store.put(first).await.unwrap().complete);
    let mut more = chunk(&[1, 2], 0, 2);
    more.size = 1;
    assert_eq!(store.put(more).await.unwrap_err().kind(), Code::Invalid);
    assert_eq!(store.put(chunk(&[1, 2], 0, 0)).await.unwrap_err().kind(), Code::Invalid);
}

#[tokio::test]
async fn uploads_at_the_same_time_are_bounded() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    for number in 0..17 {
        let piece = PutChunk { upload: format!("u{number}"), ..chunk(&[1, 2, 3], 0, 1) };
        let stored = store.put(piece).await;
        if number < 16 {
            assert!(stored.is_ok());
        } else {
            assert_eq!(stored.unwrap_err().kind(), Code::Overloaded);
        }
    }
}

#[tokio::test]
async fn what_an_upload_left_is_gone_at_the_next_start() {
    let fixture = Fixture::new();
    let kept = upload(&fixture.runtime, &[7; 10]).await.unwrap();
    let folder = fixture.dir.path().join("components");
    fs::write(folder.join("upload-0"), b"half").unwrap();
    let again = runtime_in(fixture.dir.path());
    assert_eq!(files(&folder).len(), 1);
    assert!(again.components().contains(&kept));
}

#[tokio::test]
async fn a_damaged_component_is_noticed() {
    let fixture = Fixture::new();
    let digest = upload(&fixture.runtime, &guest("guest_empty")).await.unwrap();
    fs::write(fixture.dir.path().join("components").join(digest.to_string()), b"\0asm").unwrap();
    let problem = fixture.runtime.load(&digest).await.err().unwrap();
    assert_eq!(problem.kind(), Code::NotFound);
    assert!(problem.detail.contains("is damaged"), "{problem}");
    // it is not kept, and the same again makes it whole
    assert!(!fixture.runtime.components().contains(&digest));
    upload(&fixture.runtime, &guest("guest_empty")).await.unwrap();
    fixture.runtime.load(&digest).await.unwrap();
}

#[tokio::test]
async fn compiled_code_is_kept_privately_and_used_again() {
    let fixture = Fixture::new();
    let digest = upload(&fixture.runtime, &guest("guest_empty")).await.unwrap();
    fixture.runtime.load(&digest).await.unwrap();
    let folder = fixture.dir.path().join("aot");
    let [code] = files(&folder).try_into().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&code)), (0o700, 0o600));
    // Without the component only the compiled code can serve.
    fs::remove_file(fixture.dir.path().join("components").join(digest.to_string())).unwrap();
    let again = runtime_in(fixture.dir.path());
    let module = again.load(&digest).await.unwrap();
    assert_eq!(gives(&module, "add", "[40,2]").await, "42");
}

#[tokio::test]
async fn damaged_code_is_compiled_again() {
    let fixture = Fixture::new();
    let digest = upload(&fixture.runtime, &guest("guest_empty")).await.unwrap();
    fixture.runtime.load(&digest).await.unwrap();
    let [code] = files(&fixture.dir.path().join("aot")).try_into().unwrap();
    let sound = fs::read(&code).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for damaged in [flipped, sound[..sound.len() - 1].to_vec(), sound[..10].to_vec(), Vec::new()] {
        fs::write(&code, damaged).unwrap();
        let module = runtime_in(fixture.dir.path()).load(&digest).await.unwrap();
        assert_eq!(gives(&module, "add", "[40,2]").await, "42");
        assert_eq!(fs::read(&code).unwrap(), sound, "made anew");
    }
}

#[tokio::test]
async fn code_of_another_engine_is_removed() {
    let fixture = Fixture::new();
    let folder = fixture.dir.path().join("aot");
    fs::write(folder.join("0000000000000000-aa.code"), b"old").unwrap();
    let _again = runtime_in(fixture.dir.path());
    assert!(files(&folder).is_empty());
}

#[tokio::test]
async fn one_load_serves_all_who_wait_for_it() {
    let fixture = Fixture::new();
    let digest = upload(&fixture.runtime, &guest("guest_empty")).await.unwrap();
    let loads = (0..8).map(|_| fixture.runtime.load(&digest));
    let modules = futures::future::try_join_all(loads).await.unwrap();
    assert!(modules.iter().all(|module| std::sync::Arc::ptr_eq(module, &modules[0])));
}

#[tokio::test]
async fn what_nothing_needs_goes_after_a_while_unless_somebody_wants_it() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let components: [&[u8]; 3] = [b"needed", b"idle", b"wanted"];
    for whole in components {
        assert!(store.put(chunk(whole, 0, whole.len())).await.unwrap().complete);
    }
    let [needed, idle, wanted] = components.map(Digest::of);
    let needed_by_classes = BTreeSet::from([needed]);
    let begin = Instant::now();
    let sweep = |now, as_of| store.sweep(&needed_by_classes, begin + now, begin + as_of);
    let (moment, later) = (Duration::from_secs(1), KEEP * 2);
    assert!(sweep(Duration::ZERO, Duration::ZERO).is_empty());
    let before = KEEP.checked_sub(moment).unwrap();
    assert!(sweep(before, before).is_empty());
    assert!(sweep(later, before).is_empty(), "the catalog here may not know yet");
    // an upload of what is there, or another host's question, begins its time anew
    assert!(store.put(chunk(b"wanted", 0, 2)).await.unwrap().complete);
    assert_eq!(sweep(KEEP, KEEP), [idle]);
    assert!(store.contains(&needed) && store.contains(&wanted) && !store.contains(&idle));
    assert!(store.hold(&wanted) && !store.hold(&idle));
    assert!(sweep(later, later).is_empty());
    assert_eq!(sweep(later + KEEP, later + KEEP), [wanted]);
    // it can come back
    assert!(store.put(chunk(b"idle", 0, 4)).await.unwrap().complete);
    assert!(store.contains(&idle) && store.contains(&needed));
}

#[tokio::test]
async fn what_is_needed_again_begins_anew() {
    let fixture = Fixture::new();
    let store = fixture.runtime.components();
    let digest = Digest::of(b"one");
    store.put(chunk(b"one", 0, 3)).await.unwrap();
    let (begin, none) = (Instant::now(), BTreeSet::new());
    assert!(store.sweep(&none, begin, begin).is_empty());
    assert!(store.sweep(&BTreeSet::from([digest]), begin + KEEP, begin + KEEP).is_empty());
    assert!(store.sweep(&none, begin + KEEP, begin + KEEP).is_empty());
    assert_eq!(store.sweep(&none, begin + KEEP * 2, begin + KEEP * 2), [digest]);
}
