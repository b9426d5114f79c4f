//! The gRPC service `envoy.service.ext_proc.v3.ExternalProcessor` as a route.

use super::{
    exchange::{Desk, Exchange},
    proto::{ProcessingRequest, ProcessingResponse},
};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::post,
};
use futures::Stream;
use std::{
    future::{Ready, ready},
    pin::Pin,
    task::{Context, Poll, ready as wait},
};
use tonic::{
    Status, Streaming,
    server::{Grpc, StreamingService},
};
use tonic_prost::ProstCodec;

/// The one method there is.
const PROCESS: &str = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
/// Longest message; Envoy takes headers of at most 8 MiB.
const LONGEST: usize = 9 << 20;

/// The port Envoy calls.
pub fn router(desk: Desk) -> Router {
    Router::new().route(PROCESS, post(process)).fallback(unknown).with_state(desk)
}

async fn process(State(desk): State<Desk>, request: Request) -> Response {
    let codec = ProstCodec::<ProcessingResponse, ProcessingRequest>::default();
    Grpc::new(codec).max_decoding_message_size(LONGEST).streaming(Process(desk), request).await.map(Body::new)
}

async fn unknown() -> Response {
    Status::unimplemented(format!("there is only {PROCESS}, Envoy's ext_proc")).into_http()
}

struct Process(Desk);

impl StreamingService<ProcessingRequest> for Process {
    type Response = ProcessingResponse;
    type ResponseStream = Parts;
    type Future = Ready<Result<tonic::Response<Parts>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<ProcessingRequest>>) -> Self::Future {
        let exchange = Exchange::new(self.0.clone());
        ready(Ok(tonic::Response::new(Parts { said: request.into_inner(), exchange })))
    }
}

/// The answer to each part, when it comes.
struct Parts {
    said: Streaming<ProcessingRequest>,
    exchange: Exchange,
}

impl Stream for Parts {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let said = wait!(Pin::new(&mut self.said).poll_next(context));
        Poll::Ready(said.map(|part| part.map(|part| self.exchange.answer(part))))
    }
}
