//! Requests that leave.

use crate::Wish;
use crate::wasi::http::outgoing_handler::handle;
use crate::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, RequestOptions, Scheme,
};
use crate::wasi::io::streams::{InputStream, StreamError};

/// The most that one write takes.
const PIECE: usize = 4096;

pub fn told(wish: &Wish) -> String {
    match begin(wish).and_then(ended) {
        Ok(response) => {
            let status = response.status();
            match text(&response) {
                Ok(body) => format!("{status} {body}"),
                Err(why) => format!("{status} broken: {why}"),
            }
        }
        Err(code) => named(&code),
    }
}

fn named(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
}

pub fn burst(url: &str, count: u32) -> Vec<String> {
    let wish = get(url);
    let begun: Vec<_> = (0..count).map(|_| begin(&wish)).collect();
    let told = |sent: Result<FutureIncomingResponse, ErrorCode>| match sent.and_then(ended) {
        Ok(response) => format!("{} {}", response.status(), text(&response).unwrap_or_else(|why| why)),
        Err(code) => named(&code),
    };
    begun.into_iter().map(told).collect()
}

pub fn upload(url: &str, bytes: u64) -> String {
    let request = match request(&Wish { method: "POST".into(), ..get(url) }) {
        Ok(request) => request,
        Err(code) => return named(&code),
    };
    let body = request.body().unwrap();
    let sent = match handle(request, None) {
        Ok(sent) => sent,
        Err(code) => return named(&code),
    };
    let stream = body.write().unwrap();
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE as u64);
        if stream.blocking_write_and_flush(&vec![b'x'; piece as usize]).is_err() {
            break;
        }
        left -= piece;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    match ended(sent) {
        Ok(response) => format!("{} {}", response.status(), text(&response).unwrap_or_else(|why| why)),
        Err(code) => named(&code),
    }
}

pub fn download(url: &str) -> String {
    let response = match begin(&get(url)).and_then(ended) {
        Ok(response) => response,
        Err(code) => return named(&code),
    };
    let mut bytes = 0;
    match read(&response, |piece| bytes += piece.len()) {
        Ok(()) => bytes.to_string(),
        Err(why) => format!("broken: {why}"),
    }
}

fn get(url: &str) -> Wish {
    Wish { method: "GET".into(), url: url.into(), headers: vec![], body: String::new(), timeout_ms: None }
}

fn request(wish: &Wish) -> Result<OutgoingRequest, ErrorCode> {
    let headers: Vec<_> =
        wish.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let headers = Fields::from_list(&headers).map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?;
    let request = OutgoingRequest::new(headers);
    let (scheme, rest) = wish.url.split_once("://").unwrap();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let set = request.set_scheme(Some(&scheme)).and_then(|()| request.set_authority(Some(&rest[..at])));
    let path = Some(&rest[at..]).filter(|path| !path.is_empty()).or(Some("/"));
    set.and_then(|()| request.set_path_with_query(path)).map_err(|()| ErrorCode::HttpRequestUriInvalid)?;
    let method = match wish.method.as_str() {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "TRACE" => Method::Trace,
        other => Method::Other(other.into()),
    };
    request.set_method(&method).map_err(|()| ErrorCode::HttpRequestMethodInvalid)?;
    Ok(request)
}

fn begin(wish: &Wish) -> Result<FutureIncomingResponse, ErrorCode> {
    let request = request(wish)?;
    let body = (!wish.body.is_empty()).then(|| request.body().unwrap());
    let options = wish.timeout_ms.map(|ms| {
        let options = RequestOptions::new();
        options.set_first_byte_timeout(Some(ms * 1_000_000)).unwrap();
        options
    });
    let sent = handle(request, options)?;
    if let Some(body) = body {
        let stream = body.write().unwrap();
        for piece in wish.body.as_bytes().chunks(PIECE) {
            let _ = stream.blocking_write_and_flush(piece);
        }
        drop(stream);
        let _ = OutgoingBody::finish(body, None);
    }
    Ok(sent)
}

fn ended(sent: FutureIncomingResponse) -> Result<IncomingResponse, ErrorCode> {
    sent.subscribe().block();
    sent.get().unwrap().unwrap()
}

fn text(response: &IncomingResponse) -> Result<String, String> {
    let mut bytes = Vec::new();
    read(response, |piece| bytes.extend_from_slice(piece))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(response: &IncomingResponse, take: impl FnMut(&[u8])) -> Result<(), String> {
    let body = response.consume().unwrap();
    let stream = body.stream().unwrap();
    let done = drain(&stream, take);
    drop(stream);
    drop(IncomingBody::finish(body));
    done
}

/// Reads to the end.
pub fn drain(stream: &InputStream, mut take: impl FnMut(&[u8])) -> Result<(), String> {
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(piece) => take(&piece),
            Err(StreamError::Closed) => return Ok(()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}
