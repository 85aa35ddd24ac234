//! What a client's frame means to a demultiplexer: a payload for a stream, or an answer that says what is wrong.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tungstenite::Utf8Bytes;

use super::{NAME_LIMIT, REQUEST_ID_LIMIT};
use crate::{Close, CloseCode, Denial, Frame};

/// A payload on its way to a stream.
pub(crate) struct Addressed {
    pub(crate) payload: Frame,
    /// The one of the frame, not of its payload: what answers the frame carries it.
    pub(crate) request_id: Option<Box<RawValue>>,
    /// Its place among the bytes that wait for streams.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// What the client is told when something goes wrong on a stream: the payload of the frame that says so.
#[derive(Debug, Serialize)]
pub(crate) struct Trouble {
    error: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Box<RawValue>>,
}

impl Trouble {
    pub(crate) fn new(error: impl Into<Cow<'static, str>>) -> Self {
        Self { error: error.into(), code: None, status: None, request_id: None }
    }

    /// A frame came for a stream that has ended.
    pub(crate) fn ended() -> Self {
        Self::new("the stream has ended")
    }

    /// The stream ends with a close.
    pub(crate) fn closed(close: &Close) -> Self {
        let trouble = match close.reason.as_str() {
            "" if close.code == CloseCode::INTERNAL => Self::new("internal error"),
            "" => Self::ended(),
            reason => Self::new(reason.to_owned()),
        };
        Self { code: Some(close.code.as_u16()), ..trouble }
    }

    /// The stream never began. Its body is told when it is short text, for it was written for another reader.
    pub(crate) fn denied(denial: &Denial) -> Self {
        let is_text = denial
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let body = std::str::from_utf8(&denial.body).ok().filter(|body| is_text && !body.is_empty());
        let trouble = match body.or_else(|| denial.status.canonical_reason()) {
            Some(text) => Self::new(text[..text.floor_char_boundary(BODY_LIMIT)].to_owned()),
            None => Self::new("refused"),
        };
        Self { status: Some(denial.status.as_u16()), ..trouble }
    }

    /// Notes which request this is about, for clients that put its id into the payload.
    pub(crate) fn about(self, addressed: &Addressed) -> Self {
        match addressed.request_id {
            Some(_) => self,
            None => self.about_payload(&addressed.payload),
        }
    }

    pub(crate) fn about_payload(self, payload: &Frame) -> Self {
        let inner = std::str::from_utf8(payload.payload()).ok().and_then(inner_id);
        Self { request_id: inner, ..self }
    }

    /// The payload as JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("text, numbers and JSON have a JSON form")
    }
}

/// The most bytes of a refusal's body that are told.
const BODY_LIMIT: usize = 1024;

/// The whole frame that tells trouble which is not that of a running stream.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    /// The stream it is about, if that is known.
    stream: Option<String>,
    payload: Trouble,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<Box<RawValue>>,
}

impl Answer {
    /// A frame came for a stream that has ended.
    pub(crate) fn ended(stream: &str, addressed: Addressed) -> Self {
        let payload = Trouble::ended().about(&addressed);
        Self { stream: Some(stream.to_owned()), payload, request_id: addressed.request_id }
    }

    fn unread(error: &'static str) -> Box<Self> {
        Box::new(Self { stream: None, payload: Trouble::new(error), request_id: None })
    }
}

/// The parts of a frame, as they stand there.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    request_id: Option<&'a RawValue>,
}

/// A value that is there, even if it is null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Text that is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a frame: the number of the stream that `find` knows by its name, and what is for it.
///
/// # Errors
/// What the client is answered instead.
pub(crate) fn read(
    frame: &Frame,
    find: impl Fn(&str) -> Option<usize>,
) -> Result<(usize, Box<Addressed>), Box<Answer>> {
    let Frame::Text(text) = frame else { return Err(Answer::unread("text frames are due here")) };
    let parts = parts(text).map_err(Answer::unread)?;
    let name = parts.stream.and_then(|name| serde_json::from_str::<Text<'_>>(name.get()).ok());
    let known = name.as_ref().and_then(|Text(name)| find(name));
    let answer = |stream: Option<&str>, error: Cow<'static, str>| {
        let request_id =
            parts.request_id.filter(|id| id.get().len() <= REQUEST_ID_LIMIT).map(ToOwned::to_owned);
        let inner =
            parts.payload.filter(|_| parts.request_id.is_none()).and_then(|payload| inner_id(payload.get()));
        let payload = Trouble { request_id: inner, ..Trouble::new(error) };
        Err(Box::new(Answer { stream: stream.map(str::to_owned), payload, request_id }))
    };
    let known_name = name.as_ref().filter(|_| known.is_some()).map(|Text(name)| &**name);
    if parts.request_id.is_some_and(|id| id.get().len() > REQUEST_ID_LIMIT) {
        return answer(known_name, format!("request_id has more than {REQUEST_ID_LIMIT} bytes").into());
    }
    let (Some(_), Some(payload)) = (parts.stream, parts.payload) else {
        return answer(known_name, "stream or payload is missing".into());
    };
    let Some(Text(name)) = &name else { return answer(None, "stream is not text".into()) };
    let Some(number) = known else {
        let name = &name[..name.char_indices().nth(NAME_LIMIT).map_or(name.len(), |(end, _)| end)];
        return answer(Some(name), format!("there is no stream \"{name}\"").into());
    };
    if !payload.get().starts_with('{') {
        return answer(Some(name), "payload is not an object".into());
    }
    let payload = Frame::Text(part(text, payload.get()));
    let request_id = parts.request_id.map(ToOwned::to_owned);
    Ok((number, Box::new(Addressed { payload, request_id, room: None })))
}

fn parts(text: &str) -> Result<Parts<'_>, &'static str> {
    if !text.trim_start().starts_with('{') {
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Err(if is_json { "the frame is not an object" } else { "the frame is not JSON" });
    }
    serde_json::from_str(text).map_err(|cause| match cause.classify() {
        Category::Data => "the frame names a key twice",
        Category::Io | Category::Syntax | Category::Eof => "the frame is not JSON",
    })
}

/// A part of a text, which shares its bytes.
fn part(text: &Utf8Bytes, part: &str) -> Utf8Bytes {
    let part = Bytes::from(text.clone()).slice_ref(part.as_bytes());
    part.try_into().expect("a part of text, between characters, is text")
}

/// The `request_id` in a payload, unless it is too long.
fn inner_id(payload: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        request_id: Option<&'a RawValue>,
    }
    let id =
        payload.starts_with('{').then(|| serde_json::from_str::<Payload<'_>>(payload).ok())??.request_id?;
    (id.get().len() <= REQUEST_ID_LIMIT).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    /// The payload, or the answer.
    fn told(frame: impl Into<Utf8Bytes>) -> String {
        let find = |name: &str| ["echo", "a\"b"].iter().position(|known| *known == name);
        match read(&Frame::text(frame), find) {
            Ok((number, addressed)) => {
                let payload = String::from_utf8(addressed.payload.payload().to_vec()).unwrap();
                format!(
                    "{number} {payload} {}",
                    addressed.request_id.map_or_else(String::new, |id| id.to_string())
                )
            }
            Err(answer) => serde_json::to_string(&answer).unwrap(),
        }
    }

    #[test]
    fn payloads_find_their_streams_with_the_request_id_of_any_json() {
        assert_eq!(told(r#" {"stream": "echo", "payload": {"é": 1 }} "#), r#"0 {"é": 1 } "#);
        assert_eq!(told(r#"{"payload":{},"x":[],"stream":"a\"b","request_id":null}"#), "1 {} null");
        assert_eq!(told(r#"{"payload":{},"stream":"ech\u006f","request_id":{"a":1}}"#), r#"0 {} {"a":1}"#);
    }

    #[test]
    fn what_is_wrong_is_said_with_the_stream_and_the_request_if_they_are_known() {
        for (frame, answer) in [
            ("{", r#"{"stream":null,"payload":{"error":"the frame is not JSON"}}"#),
            ("", r#"{"stream":null,"payload":{"error":"the frame is not JSON"}}"#),
            ("[1]", r#"{"stream":null,"payload":{"error":"the frame is not an object"}}"#),
            (r#"["echo",{}]"#, r#"{"stream":null,"payload":{"error":"the frame is not an object"}}"#),
            (
                "{\"stream\":\"echo\",\"stream\":\"echo\"}",
                r#"{"stream":null,"payload":{"error":"the frame names a key twice"}}"#,
            ),
            ("{}", r#"{"stream":null,"payload":{"error":"stream or payload is missing"}}"#),
            (
                r#"{"stream":"echo"}"#,
                r#"{"stream":"echo","payload":{"error":"stream or payload is missing"}}"#,
            ),
            (r#"{"stream":"nope"}"#, r#"{"stream":null,"payload":{"error":"stream or payload is missing"}}"#),
            (
                r#"{"payload":{},"request_id":5}"#,
                r#"{"stream":null,"payload":{"error":"stream or payload is missing"},"request_id":5}"#,
            ),
            (
                r#"{"payload":{"request_id":5}}"#,
                r#"{"stream":null,"payload":{"error":"stream or payload is missing","request_id":5}}"#,
            ),
            (r#"{"stream":7,"payload":{}}"#, r#"{"stream":null,"payload":{"error":"stream is not text"}}"#),
            (
                r#"{"stream":null,"payload":{}}"#,
                r#"{"stream":null,"payload":{"error":"stream is not text"}}"#,
            ),
            (
                r#"{"stream":"nope","payload":1}"#,
                r#"{"stream":"nope","payload":{"error":"there is no stream \"nope\""}}"#,
            ),
            (
                r#"{"stream":"echo","payload":[]}"#,
                r#"{"stream":"echo","payload":{"error":"payload is not an object"}}"#,
            ),
            (
                r#"{"stream":"echo","payload":null}"#,
                r#"{"stream":"echo","payload":{"error":"payload is not an object"}}"#,
            ),
        ] {
            assert_eq!(told(frame), answer, "{frame}");
        }
        let binary = read(&Frame::Binary(Bytes::new()), |_| None).err().unwrap();
        assert_eq!(serde_json::to_value(&binary).unwrap()["payload"]["error"], "text frames are due here");
    }

    #[test]
    fn a_long_name_is_cut_and_a_long_request_id_is_not_echoed() {
        let cut = "é".repeat(NAME_LIMIT);
        let answer = told(format!(r#"{{"stream":"{}","payload":{{}}}}"#, "é".repeat(5000)));
        assert_eq!(
            answer,
            format!(r#"{{"stream":"{cut}","payload":{{"error":"there is no stream \"{cut}\""}}}}"#)
        );
        let answer =
            told(format!(r#"{{"stream":"echo","payload":{{}},"request_id":"{}"}}"#, "x".repeat(1023)));
        assert_eq!(answer, r#"{"stream":"echo","payload":{"error":"request_id has more than 1024 bytes"}}"#);
    }

    #[test]
    fn an_end_tells_its_reason_and_no_cause() {
        for (trouble, told) in [
            (Trouble::closed(&Close::new(4001, "log in")), r#"{"error":"log in","code":4001}"#),
            (Trouble::closed(&CloseCode::INTERNAL.into()), r#"{"error":"internal error","code":1011}"#),
            (Trouble::closed(&CloseCode::NORMAL.into()), r#"{"error":"the stream has ended","code":1000}"#),
            (Trouble::denied(&Denial::new(StatusCode::FORBIDDEN, "no")), r#"{"error":"no","status":403}"#),
            (
                Trouble::denied(&Denial::new(StatusCode::FORBIDDEN, "")),
                r#"{"error":"Forbidden","status":403}"#,
            ),
            (
                Trouble::denied(
                    &Denial::new(StatusCode::NOT_FOUND, "<p>").header("content-type", "text/html"),
                ),
                r#"{"error":"Not Found","status":404}"#,
            ),
        ] {
            assert_eq!(trouble.json(), told);
        }
    }
}
