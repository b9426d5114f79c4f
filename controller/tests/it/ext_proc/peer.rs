//! An Envoy in a few lines: one HTTP/2 connection, on which a test may say anything.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::{Request, Response, body::Frame, body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sluicegate::ext_proc::proto::{HeaderMap, HeaderValue, HttpHeaders, Part, ProcessingRequest, ProcessingResponse};
use std::{convert::Infallible, net::SocketAddr};
use tokio::{net::TcpStream, sync::mpsc};

type Said = StreamBody<futures::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A connection.
#[derive(Clone)]
pub(super) struct Peer(SendRequest<Said>);

/// One stream on it.
pub(super) struct Call {
    say: Option<mpsc::UnboundedSender<Bytes>>,
    heard: Incoming,
    rest: BytesMut,
}

impl Peer {
    pub(super) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        drop(tokio::spawn(connection));
        Self(sender)
    }

    /// Opens a stream to this method.
    pub(super) async fn open(&mut self, path: &str) -> Response<Incoming> {
        self.ask(path, mpsc::unbounded_channel().1).await.unwrap()
    }

    async fn ask(&mut self, path: &str, said: mpsc::UnboundedReceiver<Bytes>) -> hyper::Result<Response<Incoming>> {
        let frames = futures::stream::unfold(said, async |mut said| Some((Ok(Frame::data(said.recv().await?)), said)));
        let body = StreamBody::new(Box::pin(frames) as futures::stream::BoxStream<'static, _>);
        let request = Request::post(format!("http://ext-proc{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        self.0.ready().await?;
        self.0.send_request(request.body(body).unwrap()).await
    }

    /// Opens a stream as Envoy does.
    pub(super) async fn call(&mut self) -> hyper::Result<Call> {
        let (say, said) = mpsc::unbounded_channel();
        let answer = self.ask("/envoy.service.ext_proc.v3.ExternalProcessor/Process", said).await?;
        assert_eq!(answer.status(), 200);
        Ok(Call { say: Some(say), heard: answer.into_body(), rest: BytesMut::new() })
    }
}

impl Call {
    /// Says these bytes, whatever they are.
    pub(super) fn say_bytes(&self, bytes: impl Into<Bytes>) {
        // Refused only when the server has ended the stream, which the test then hears.
        let _ = self.say.as_ref().unwrap().send(bytes.into());
    }

    /// Says a message.
    pub(super) fn say(&self, request: &ProcessingRequest) {
        self.say_bytes(framed(&request.encode_to_vec()));
    }

    /// Says no more.
    pub(super) fn finish(&mut self) {
        self.say = None;
    }

    /// The next answer; the gRPC status instead when the stream is over.
    pub(super) async fn hear(&mut self) -> Result<ProcessingResponse, String> {
        loop {
            if let Some(length) = self.rest.get(1..5) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.rest.len() >= 5 + length {
                    let frame = self.rest.split_to(5 + length);
                    return Ok(ProcessingResponse::decode(&frame[5..]).unwrap());
                }
            }
            match self.heard.frame().await {
                None => return Err("ended without a status".to_owned()),
                Some(Err(why)) => return Err(why.to_string()),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest.extend_from_slice(&data),
                    Err(trailers) => {
                        let trailers = trailers.into_trailers().unwrap();
                        return Err(trailers["grpc-status"].to_str().unwrap().to_owned());
                    }
                },
            }
        }
    }
}

/// A message as gRPC frames it.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// The headers of a request.
pub(super) fn request(headers: &[(&str, &[u8])]) -> ProcessingRequest {
    let header = |(name, value): &(&str, &[u8])| HeaderValue {
        key: (*name).to_owned(),
        raw_value: Bytes::copy_from_slice(value),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: headers.iter().map(header).collect() });
    ProcessingRequest { part: Some(Part::RequestHeaders(HttpHeaders { headers })), ..ProcessingRequest::default() }
}
