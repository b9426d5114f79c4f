//! As much of HTTP/1.1 as the harness needs, on byte slices: heads, header look-up, body framing.

use memchr::memmem;

/// The length of the head that starts `bytes`, with its empty line; `None` while that is incomplete.
#[must_use]
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The header lines of a complete head, without its first line and the line ends: name and value as sent.
pub fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(head).skip(1).filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// The value of the first header with this name, whatever its case.
#[must_use]
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    headers(head).find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
}

/// The first line of a head: a request line or a status line.
#[must_use]
pub fn first_line(head: &[u8]) -> &[u8] {
    lines(head).next().unwrap_or_default()
}

/// The status of a response head; 0 when there is none.
#[must_use]
pub fn status(head: &[u8]) -> u16 {
    let digits = first_line(head).get(9..12).unwrap_or_default();
    std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
    .take_while(|line| !line.is_empty())
}

/// How a message body is framed, and how much of it is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// So many bytes more.
    Left(u64),
    /// Chunks; inside one, so many bytes of it (with its line end) are still to come.
    Chunks(u64),
    /// Until the sender closes.
    Eof,
    /// Complete.
    Done,
}

impl Body {
    /// The framing that a head announces; `if_unsaid` when it says nothing.
    #[must_use]
    pub fn of(head: &[u8], if_unsaid: Self) -> Self {
        if header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case(b"chunked")) {
            return Self::Chunks(0);
        }
        match header(head, "content-length").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()) {
            Some(0) => Self::Done,
            Some(length) => Self::Left(length),
            None => if_unsaid,
        }
    }

    /// Takes what belongs to the body off `bytes`, handing the payload to `sink`; returns how many bytes were used.
    pub fn take(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> usize {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match *self {
                Self::Done => return used,
                Self::Eof => {
                    sink(rest);
                    return bytes.len();
                }
                Self::Left(left) => {
                    let now = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    sink(&rest[..now]);
                    *self = if now as u64 == left { Self::Done } else { Self::Left(left - now as u64) };
                    return used + now;
                }
                Self::Chunks(0) => {
                    let Some(end) = memmem::find(rest, b"\r\n") else { return used };
                    let digits = rest[..end].split(|&byte| byte == b';').next().unwrap_or_default();
                    let text = std::str::from_utf8(digits).unwrap_or_default().trim();
                    let size = u64::from_str_radix(text, 16).unwrap_or(0);
                    if size == 0 {
                        // The last chunk, then trailers up to an empty line; only "no trailers" is used here.
                        let Some(end) = head_len(&rest[end..]).map(|length| end + length) else { return used };
                        *self = Self::Done;
                        return used + end;
                    }
                    used += end + 2;
                    *self = Self::Chunks(size + 2);
                }
                Self::Chunks(left) => {
                    let now = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    // The last two bytes of a chunk are its line end, not payload.
                    let payload = now.min(usize::try_from(left.saturating_sub(2)).unwrap_or(usize::MAX));
                    sink(&rest[..payload]);
                    used += now;
                    *self = Self::Chunks(left - now as u64);
                    if now == 0 || *self != Self::Chunks(0) {
                        return used;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_read_whatever_the_cuts() {
        let wire = b"4\r\nabcd\r\n1;x=y\r\ne\r\n0\r\n\r\nNEXT";
        for cut in 0..wire.len() {
            let mut body = Body::Chunks(0);
            let mut payload = Vec::new();
            let first = body.take(&wire[..cut], |part| payload.extend_from_slice(part));
            let second = body.take(&wire[first..], |part| payload.extend_from_slice(part));
            assert_eq!(
                (&payload[..], &wire[first + second..], body),
                (&b"abcde"[..], &b"NEXT"[..], Body::Done),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn a_head_is_found_and_read() {
        let bytes = b"HTTP/1.1 503 Nope\r\nX-Pod:  a\r\ncontent-length: 3\r\n\r\nabc";
        let head = &bytes[..head_len(bytes).expect("complete")];
        assert_eq!(
            (status(head), header(head, "x-pod"), Body::of(head, Body::Eof)),
            (503, Some(&b"a"[..]), Body::Left(3))
        );
    }
}
