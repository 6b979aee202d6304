//! A data directory has one process at a time. Another gets a clear error, and does the first no harm.

use oprc_tests::{Class, Cli, Kind, Server, free_port, guests, run};
use serde_json::json;

#[test]
fn a_second_process_is_refused() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let _shown = server.show_logs_on_panic();
        let class = Class::deploy(&server, "Locked", guests::counter(), "").await;
        let data = server.data_dir();
        let data = data.to_str().unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let mesh = format!("tcp/127.0.0.1:{}", free_port());
        for args in [
            ["up", "--listen", &listen, "--data-dir", data].as_slice(),
            ["host", "--mesh-listen", &mesh, "--data-dir", data].as_slice(),
        ] {
            let complaint = Cli::run(args, server.scratch(), &[], None).await.fails(1);
            assert!(complaint.contains(data), "it names the directory: {complaint}");
            assert!(
                complaint.contains("another process") || complaint.contains("in use"),
                "it says why: {complaint}"
            );
            assert!(!complaint.contains("panicked"), "{complaint}");
        }
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
        // the lock goes with the process, however it ends
        server.kill_host();
        server.launch().await;
        assert_eq!(class.object("o").invoke("value", json!({})).await.expect(200).json(), 1);
    });
}

#[test]
fn what_is_no_data_directory_is_refused() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let listen = format!("127.0.0.1:{}", free_port());
        let file = server.scratch().join("file");
        std::fs::write(&file, "not a directory").unwrap();
        let complaint = up(&server, &listen, file.to_str().unwrap()).await;
        assert!(complaint.contains("file"), "{complaint}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a directory");
    });
}

/// A format that a newer version wrote is not guessed at.
#[test]
fn an_unknown_format_is_refused() {
    run(async {
        let server = Server::start(Kind::Embedded).await;
        let class = Class::deploy(&server, "Format", guests::counter(), "").await;
        class.object("o").invoke("increment", json!({ "by": 1 })).await.expect(200);
        assert!(server.stop().await.success());
        let listen = format!("127.0.0.1:{}", free_port());
        let data = server.data_dir();
        let versions: Vec<_> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().to_lowercase().contains("format"))
            .collect();
        let [file] = &versions[..] else {
            panic!("the data directory says its format in a file: {versions:?}")
        };
        let before = std::fs::read(file).unwrap();
        std::fs::write(file, "999999\n").unwrap();
        let complaint = up(&server, &listen, data.to_str().unwrap()).await;
        assert!(complaint.contains("format") && complaint.contains("999999"), "{complaint}");
        std::fs::write(file, before).unwrap();
        server.launch().await;
        assert_eq!(class.object("o").invoke("value", json!({})).await.expect(200).json(), 1);
    });
}

/// A port that is taken is a clear error, too.
#[test]
fn a_taken_port_is_refused() {
    run(async {
        let server = Server::prepare(Kind::Embedded);
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap().to_string();
        let data = server.data_dir();
        let complaint = up(&server, &listen, data.to_str().unwrap()).await;
        assert!(complaint.contains(&listen), "it names the address: {complaint}");
    });
}

async fn up(server: &Server, listen: &str, data: &str) -> String {
    let args = ["up", "--listen", listen, "--data-dir", data];
    let complaint = Cli::run(&args, server.scratch(), &[], None).await.fails(1);
    assert!(!complaint.contains("panicked"), "{complaint}");
    complaint
}
