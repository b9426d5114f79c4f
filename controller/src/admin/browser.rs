//! What a browser may ask of the admin port. Whoever opens a page of somebody else in a browser lends it their network:
//! that page must not be able to change weights, nor to read them. The command line is no browser, and passes.
//!
//! In: each request of the admin port. Out: the request, or 403 with what is wrong with it.

use crate::listen::teach;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header::HOST, header::ORIGIN},
    middleware::Next,
    response::Response,
};
use std::{fmt, net::IpAddr, sync::Arc};
use subtle::ConstantTimeEq;

/// The header that a page of ours sends the token in.
pub const TOKEN_HEADER: &str = "x-sluicegate-token";

/// Which browsers are let in.
#[derive(Clone)]
pub struct Gate {
    /// A page that can read it is ours: it is only ever told to those of the same origin. New with each start.
    pub(super) token: Arc<str>,
    /// Why there is no dashboard here; then no browser may change anything.
    pub(super) shut: Option<&'static str>,
    /// Only this machine reaches the port; then it goes by no name.
    local: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("shut", &self.shut).field("local", &self.local).finish_non_exhaustive()
    }
}

impl Gate {
    /// `shut`: why there is no dashboard here; `local`: only this machine reaches the port.
    pub fn new(shut: Option<&'static str>, local: bool) -> Self {
        let token: [u8; 16] = rand::random();
        Self { token: token.map(|byte| format!("{byte:02x}")).concat().into(), shut, local }
    }

    fn refuses(&self, request: &Request) -> Option<String> {
        let headers = request.headers();
        let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let host = request.uri().authority().map(|a| a.as_str().to_owned()).or_else(|| text(HOST.as_str()));
        if self.local
            && let Some(host) = host.as_deref().filter(|host| !is_local(host))
        {
            return Some(format!(
                "this port goes by no name, and you asked for {host:?}: a page could have had that name point here; \
                 ask for http://127.0.0.1, or localhost"
            ));
        }
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        let site = text("sec-fetch-site");
        let foreign = site.as_deref().is_some_and(|site| !["same-origin", "none"].contains(&site));
        // Following a link to here is no harm: the page it comes from cannot see what is shown.
        let follows = reads && text("sec-fetch-mode").as_deref() == Some("navigate");
        if foreign && !follows {
            return Some("a page of another site asked for this; open the dashboard itself".to_owned());
        }
        let origin = text(ORIGIN.as_str());
        if reads || (origin.is_none() && site.is_none()) {
            return None;
        }
        if let Some(why) = self.shut {
            return Some(why.to_owned());
        }
        let own = format!("http://{}", host.unwrap_or_default());
        if let Some(origin) = origin.filter(|origin| *origin != own) {
            return Some(format!("a page of {origin} asked for this, not of {own}; open the dashboard itself"));
        }
        match self.knows(headers) {
            true => None,
            false => Some("the page is from before the last start of what serves it; load it again".to_owned()),
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(TOKEN_HEADER).map_or(&b""[..], |value| value.as_bytes());
        self.token.as_bytes().ct_eq(given).into()
    }
}

/// An address, or `localhost`, with or without a port: what no name server can make point elsewhere.
fn is_local(host: &str) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(bare, _)| bare),
    };
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

/// Lets pass what is no browser's, or of the dashboard itself.
pub async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.refuses(&request) {
        None => next.run(request).await,
        Some(why) => teach(StatusCode::FORBIDDEN, why),
    }
}
