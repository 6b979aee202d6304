use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

#[test]
fn a_guest_may_wait_less_and_not_more() {
    let until = Instant::now() + Duration::from_hours(1);
    let most = Times::of(None, until);
    assert_eq!(most.connect, Duration::from_millis(HTTP_CONNECT_MS_MAX));
    let wanted = |time| RequestOptions {
        connect_timeout: Some(time),
        first_byte_timeout: Some(time),
        between_bytes_timeout: Some(time),
    };
    assert_eq!(Times::of(Some(wanted(Duration::from_hours(1))), until), most);
    let short = Times::of(Some(wanted(Duration::from_millis(1))), until);
    assert_eq!((short.connect, short.first_byte), (Duration::from_millis(1), Duration::from_millis(1)));
    assert_eq!(short.between_bytes, Duration::from_millis(1));
    let over = Times { until: Instant::now(), ..most };
    assert_eq!(over.end_of(most.connect), over.until, "nothing outlives its turn");
}

/// A server on loopback that says so much to whoever asks, and then nothing for ever.
async fn says(words: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            // what comes before it was asked for is no answer
            stream.read_exact(&mut [0; 8]).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
            asked.push(stream);
        }
    });
    address.to_string()
}

/// Asks `authority`, and gives it so many milliseconds until the first byte, and between bytes.
async fn ask(
    outgoing: &Outgoing,
    scheme: Scheme,
    authority: &str,
    (first_ms, between_ms): (u64, u64),
) -> Result<Sent, Error> {
    let to = Destination::of(scheme, authority).unwrap();
    let networks = ["127.0.0.0/8".to_owned()];
    let egress = Egress::parse(&["http://127.0.0.1:1".to_owned()], &networks).unwrap();
    let wanted = |ms| Some(Duration::from_millis(ms));
    let options = RequestOptions {
        connect_timeout: wanted(first_ms),
        first_byte_timeout: wanted(first_ms),
        between_bytes_timeout: wanted(between_ms),
    };
    let times = Times::of(Some(options), Instant::now() + Duration::from_mins(1));
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let request =
        Request::get("/").body(Empty::new().map_err(|never| match never {}).boxed_unsync()).unwrap();
    outgoing.send(request, Trip { to, egress: Arc::new(egress), times, place }).await
}

/// Far from all bounds: what is waited for comes at once.
const LONG_MS: u64 = 20_000;

#[tokio::test]
async fn each_part_has_its_time() {
    let outgoing = Outgoing::new();
    let silent = says("").await;
    // TLS is agreed on within the time of connecting
    let error = ask(&outgoing, Scheme::Https, &silent, (50, LONG_MS)).await.err();
    assert!(matches!(error, Some(Error::ConnectionTimeout)), "{error:?}");
    let error = ask(&outgoing, Scheme::Http, &silent, (50, LONG_MS)).await.err();
    assert!(matches!(error, Some(Error::ConnectionReadTimeout)), "{error:?}");
    let head = says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await;
    let (response, _going) = ask(&outgoing, Scheme::Http, &head, (LONG_MS, 500)).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    let error = body.frame().await.unwrap().err();
    assert!(matches!(error, Some(Error::ConnectionReadTimeout)), "{error:?}");
}

#[tokio::test]
async fn so_many_requests_leave_a_host_at_once_and_no_more() {
    let outgoing = Outgoing::new();
    let others = u32::try_from(HTTP_REQUESTS_PER_HOST_MAX - 1).unwrap();
    let _others = outgoing.0.places.clone().try_acquire_many_owned(others).unwrap();
    let answers = says("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
    let last = ask(&outgoing, Scheme::Http, &answers, (LONG_MS, LONG_MS)).await.unwrap();
    let error = ask(&outgoing, Scheme::Http, &answers, (LONG_MS, LONG_MS)).await.err();
    assert!(matches!(error, Some(Error::ConnectionLimitReached)), "{error:?}");
    // its place is free once its body is read, or nobody wants it
    drop(last);
    assert!(ask(&outgoing, Scheme::Http, &answers, (LONG_MS, LONG_MS)).await.is_ok());
}
