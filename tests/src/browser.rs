//! A real Chromium without a window, driven by its own protocol over a WebSocket: pages, clicks with a mouse, keys.
//!
//! In: addresses and selectors. Out: what the page shows, what its console complained of, pictures in `target/screenshots`.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::client::Client;
use crate::process::Process;
use crate::{paths, poll};

/// How long a page may take to show something, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where to click for a selector, or why not yet. Until `aimed()` is called, only that element gets clicks; it returns null, or
/// what was in the way.
const FIND: &str = "async (selector) => {
  window.aimed?.();
  const e = document.querySelector(selector);
  if (!e) return 'it is not there';
  e.scrollIntoView({ block: 'center', behavior: 'instant' });
  const place = () => { const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; };
  const was = String(place());
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const [left, top, width, height] = place();
  if (was !== String(place())) return 'it moves';
  const [x, y] = [left + width / 2, top + height / 2];
  const met = document.elementFromPoint(x, y);
  if (!met || !(e === met || e.contains(met))) return 'covered by ' + met?.outerHTML.slice(0, 200);
  if (e.disabled) return 'disabled';
  let missed = 'nobody';
  const kinds = ['pointerdown', 'mousedown', 'pointerup', 'mouseup', 'click'];
  const guard = (event) => {
    if (e === event.target || e.contains(event.target)) missed = event.type === 'click' ? null : missed;
    else { missed = event.target.outerHTML?.slice(0, 200); event.preventDefault(); event.stopImmediatePropagation(); }
  };
  for (const kind of kinds) addEventListener(kind, guard, true);
  window.aimed = () => { for (const kind of kinds) removeEventListener(kind, guard, true); return missed; };
  return { x, y };
}";

/// A browser with a profile of its own.
#[derive(Debug)]
pub struct Browser {
    _process: Process,
    _profile: TempDir,
    control: SocketAddr,
}

/// A tab.
#[derive(Debug)]
pub struct Page {
    socket: WebSocket<TcpStream>,
    calls: u64,
    complaints: Vec<String>,
}

impl Browser {
    /// Starts it.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn start() -> Result<Self> {
        let profile = paths::scratch("browser")?;
        let mut command = Command::new(paths::chromium()?);
        // No sandbox: root may not have one, and only our own pages are opened.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--remote-debugging-port=0", "about:blank"]);
        // A tab behind another goes on as if it were seen: tests look at several at once.
        command.args(["--disable-background-timer-throttling", "--disable-renderer-backgrounding"]);
        command.arg("--disable-backgrounding-occluded-windows");
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        let mut process = Process::start("chromium", command, profile.path())?;
        let line = process.wait_log("DevTools listening on ws://", PATIENCE)?;
        let control = crate::controller::address(&line, "ws://")?;
        Ok(Self { _process: process, _profile: profile, control })
    }

    /// Opens a tab.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn open(&self, url: &str) -> Result<Page> {
        let host = self.control.to_string();
        let made = Client::connect(self.control)?.request("PUT", "/json/new?about:blank", &[("host", &host)], b"")?;
        let socket = made.json()?["webSocketDebuggerUrl"].as_str().context("no address of a tab")?.to_owned();
        let stream = TcpStream::connect(self.control)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let (socket, _) = tungstenite::client(socket, stream).map_err(|why| anyhow!("no line to the tab: {why}"))?;
        let mut page = Page { socket, calls: 0, complaints: Vec::new() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}))?;
        }
        page.size(1280, 900)?;
        page.go(url)?;
        Ok(page)
    }
}

impl Page {
    /// Calls a method of the protocol.
    ///
    /// # Errors
    /// When the browser refuses it, or is gone.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let request = json!({ "id": id, "method": method, "params": parameters }).to_string();
        self.socket.send(Message::text(request)).with_context(|| format!("cannot send {method}"))?;
        loop {
            let message = self.socket.read().with_context(|| format!("no answer to {method}"))?;
            let Message::Text(text) = message else { continue };
            let mut told: Value = serde_json::from_str(&text)?;
            if told["id"] == id {
                ensure!(told["error"].is_null(), "{method}: {}", told["error"]);
                return Ok(told["result"].take());
            }
            self.hear(&told);
        }
    }

    fn hear(&mut self, told: &Value) {
        let about = &told["params"];
        let complaint = match told["method"].as_str() {
            Some("Runtime.exceptionThrown") => about["exceptionDetails"].to_string(),
            Some("Runtime.consoleAPICalled") if about["type"] == "error" => about["args"].to_string(),
            Some("Log.entryAdded") if about["entry"]["level"] == "error" => {
                format!("{} {}", about["entry"]["text"], about["entry"]["url"])
            }
            _ => return,
        };
        self.complaints.push(complaint);
    }

    /// What the console complained of since this was last asked.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        self.eval("0")?;
        Ok(std::mem::take(&mut self.complaints))
    }

    /// Goes there.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn go(&mut self, url: &str) -> Result<()> {
        let went = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(went["errorText"].is_null(), "{url}: {}", went["errorText"]);
        Ok(())
    }

    /// Makes the tab so large.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn size(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// Dark, or light.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn scheme(&mut self, scheme: &str) -> Result<()> {
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &feature).map(drop)
    }

    /// The value of an expression in the page; promises are awaited.
    ///
    /// # Errors
    /// When it throws.
    pub fn eval(&mut self, script: &str) -> Result<Value> {
        let ask = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &ask)?;
        ensure!(answer["exceptionDetails"].is_null(), "{script:.200}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].take())
    }

    /// The text of an element; empty when there is none.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn text(&mut self, selector: &str) -> Result<String> {
        let found = self.eval(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)))?;
        Ok(found.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the text of an element holds this.
    ///
    /// # Errors
    /// When it does not come; with the text there was.
    pub fn until_text(&mut self, selector: &str, part: &str) -> Result<String> {
        poll::until(&format!("{selector} to say {part:?}"), PATIENCE, || {
            let text = self.text(selector)?;
            if text.contains(part) { Ok(text) } else { Err(anyhow!("{text:?}")) }
        })
    }

    /// Clicks with the mouse into the middle of an element, once it is there, stands still, and nothing covers it. What moves
    /// under the mouse all the same does not get the click: then it is tried again.
    ///
    /// # Errors
    /// When it does not come.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        let find = format!("({FIND})({})", json!(selector));
        poll::until(&format!("{selector} to be clicked"), PATIENCE, || {
            let at = self.eval(&find)?;
            ensure!(at.is_object(), "{at}");
            for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
                let button = if kind == "mouseMoved" { "none" } else { "left" };
                let event = json!({ "type": kind, "x": at["x"], "y": at["y"], "button": button, "clickCount": 1 });
                self.call("Input.dispatchMouseEvent", &event)?;
            }
            let missed = self.eval("window.aimed()")?;
            ensure!(missed.is_null(), "the click went to {missed}");
            Ok(())
        })
    }

    /// Clicks into a field and writes this in place of what is there.
    ///
    /// # Errors
    /// When there is no such field, or it does not take the text.
    pub fn write(&mut self, selector: &str, text: &str) -> Result<()> {
        self.click(selector)?;
        self.eval("document.activeElement.select()")?;
        self.call("Input.insertText", &json!({ "text": text }))?;
        let written = self.eval(&format!("document.querySelector({}).value", json!(selector)))?;
        ensure!(written == text, "{selector} holds {written}, not {text:?}");
        Ok(())
    }

    /// Presses a key: `Tab`, `Enter`, `Escape` or `ArrowRight`.
    ///
    /// # Errors
    /// When the browser is gone.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "ArrowRight" => 39,
            _ => 27,
        };
        let mut event = json!({ "type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code });
        if key == "Enter" {
            event["text"] = json!("\r");
        }
        self.call("Input.dispatchKeyEvent", &event)?;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", &event).map(drop)
    }

    /// What the rules of axe-core find wrong with the page as it is shown now.
    ///
    /// # Errors
    /// When they are not installed.
    pub fn accessibility(&mut self) -> Result<Vec<String>> {
        let rules = fs::read_to_string(paths::axe()?)?;
        self.eval(&format!("{rules}; 0"))?;
        let found = self.eval(
            "axe.run(document).then((found) => found.violations.map((v) => v.id + ': ' + v.help + ' ' + \
             v.nodes.map((n) => n.html + ' ' + n.failureSummary).join(' | ')))",
        )?;
        Ok(serde_json::from_value(found)?)
    }

    /// Takes a picture of the whole page for people to look at: `target/screenshots/NAME.png`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn picture(&mut self, name: &str) -> Result<()> {
        self.take(&paths::repo().join("target/screenshots").join(format!("{name}.png")), true).map(drop)
    }

    /// Takes a picture of what is seen in the tab into this file; returns its size in bytes.
    ///
    /// # Errors
    /// As [`Self::picture`].
    pub fn picture_to(&mut self, file: &Path) -> Result<usize> {
        self.take(file, false)
    }

    fn take(&mut self, file: &Path, whole: bool) -> Result<usize> {
        let taken = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": whole }))?;
        let image = from_base64(taken["data"].as_str().unwrap_or_default());
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(file, &image).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(image.len())
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}
