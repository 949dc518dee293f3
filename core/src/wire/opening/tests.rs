use alloc::format;
use alloc::vec::Vec;

use super::*;

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [V2_SIGNATURE, &[command, family], &len, rest].concat()
}

fn addresses(source: &str, destination: &str) -> Option<ProxyAddresses> {
    Some(ProxyAddresses {
        source: source.parse().expect("an address"),
        destination: destination.parse().expect("an address"),
    })
}

const TCP4: &[u8] = &[192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0x01, 0xbb];

#[test]
fn plain_protocols_are_told_by_their_first_bytes() {
    for (bytes, expected) in [
        (&b""[..], Opening::NeedMore),
        (b"G", Opening::Http),
        (b"P", Opening::NeedMore),
        (b"PRO", Opening::NeedMore),
        (b"PR", Opening::NeedMore),
        (b"PROPFIND", Opening::Http),
        (b"PROXY", Opening::NeedMore),
        (b"PROXY/", Opening::Http),
        (b"PUT ", Opening::Http),
        (b"\r", Opening::NeedMore),
        (b"\r\n", Opening::NeedMore),
        (b"\r\nGET", Opening::Http),
        (b"\r\n\r\nGET", Opening::Unknown),
        (b"\rG", Opening::Unknown),
        (b"\x16", Opening::NeedMore),
        (b"\x16\x03", Opening::NeedMore),
        (b"\x16\x03\x01", Opening::Tls),
        (b"\x16\x03\x04\x00", Opening::Tls),
        (b"\x16\x03\x05", Opening::Unknown),
        (b"\x16\x02", Opening::Unknown),
        (b"\x15\x03\x01", Opening::Unknown),
        (b"\0", Opening::Unknown),
        (b"\xff", Opening::Unknown),
        (b" GET", Opening::Unknown),
    ] {
        assert_eq!(detect(bytes), expected, "{bytes:?}");
    }
}

#[test]
fn version_1_states_both_ends() {
    for (line, expected) in [
        (
            "PROXY TCP4 192.0.2.1 198.51.100.2 65535 0",
            addresses("192.0.2.1:65535", "198.51.100.2:0"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 5000 443",
            addresses("[2001:db8::1]:5000", "[::1]:443"),
        ),
        ("PROXY UNKNOWN", None),
        ("PROXY UNKNOWN ffff::1 whatever 1 2", None),
    ] {
        let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
        let expected = ProxyHeader {
            version: 1,
            header_bytes: line.len() + 2,
            addresses: expected,
        };
        assert_eq!(detect(bytes.as_bytes()), Opening::Proxy(expected), "{line}");
    }
}

#[test]
fn version_1_is_strict() {
    for line in [
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443 1",
        "PROXY TCP4 192.0.2.1 192.0.2.2 5000 443 ",
        "PROXY TCP4  192.0.2.1 192.0.2.2 5000 443",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 5000 443",
        "PROXY TCP4 192.0.2.01 192.0.2.2 5000 443",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +5000 443",
        "PROXY TCP4 192.0.2.1 192.0.2.2 05000 443",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443",
        "PROXY TCP4 192.0.2.1 192.0.2.2  443",
        "PROXY TCP4 ::1 ::1 5000 443",
        "PROXY TCP6 192.0.2.1 192.0.2.2 5000 443",
        "PROXY TCP6 fe80::1%eth0 ::1 5000 443",
        "PROXY tcp4 192.0.2.1 192.0.2.2 5000 443",
        "PROXY UDP4 192.0.2.1 192.0.2.2 5000 443",
        "PROXY UNKNOWNS",
        "PROXY UNKNOWN \r",
        "PROXY UNKNOWN \u{ff}\r\r",
    ] {
        let bytes = format!("{line}\r\n");
        assert_eq!(detect(bytes.as_bytes()), Opening::BadProxy, "{line:?}");
    }
    assert_eq!(detect(b"PROXY UNKNOWN\n"), Opening::BadProxy);
    assert_eq!(detect(b"PROXY UNKNOWN\rX"), Opening::BadProxy);
    assert_eq!(detect(b"PROXY UNKNOWN \xff\r\n"), Opening::BadProxy);
}

#[test]
fn version_1_has_a_longest_line() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), PROXY_V1_BYTES_MAX);
    assert!(matches!(detect(longest.as_bytes()), Opening::Proxy(_)));
    assert_eq!(detect(&longest.as_bytes()[..106]), Opening::NeedMore);
    let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    assert_eq!(detect(longer.as_bytes()), Opening::BadProxy);
    assert_eq!(detect(&longer.as_bytes()[..107]), Opening::BadProxy);
}

#[test]
fn version_2_states_both_ends() {
    let fields = [TCP4, &[0x04, 0, 2, 0, 0], &[0xee, 0, 0]].concat();
    let mut tcp6 = [0; 36];
    (tcp6[15], tcp6[31], tcp6[33], tcp6[35]) = (1, 2, 80, 81);
    for (bytes, expected) in [
        (
            v2(0x21, 0x11, TCP4),
            addresses("192.0.2.1:5000", "192.0.2.2:443"),
        ),
        (
            v2(0x21, 0x11, &fields),
            addresses("192.0.2.1:5000", "192.0.2.2:443"),
        ),
        (v2(0x21, 0x21, &tcp6), addresses("[::1]:80", "[::2]:81")),
        (v2(0x21, 0x00, b"anything"), None),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0xff, b"to be discarded"), None),
    ] {
        let header = ProxyHeader {
            version: 2,
            header_bytes: bytes.len(),
            addresses: expected,
        };
        assert_eq!(detect(&bytes), Opening::Proxy(header), "{bytes:?}");
        let followed = [&bytes[..], b"GET"].concat();
        assert_eq!(detect(&followed), Opening::Proxy(header), "{bytes:?}");
        let cut = detect(&bytes[..bytes.len() - 1]);
        assert_eq!(cut, Opening::NeedMore, "{bytes:?}");
    }
}

#[test]
fn version_2_is_strict() {
    let overlong_field = [TCP4, &[0x04, 0, 4, 0xee, 0, 0]].concat();
    let cut_field = [TCP4, &[0x04, 0]].concat();
    for bytes in [
        v2(0x21, 0x11, &TCP4[..11]),
        v2(0x21, 0x21, TCP4),
        v2(0x21, 0x11, &overlong_field),
        v2(0x21, 0x11, &cut_field),
        v2(0x21, 0x12, TCP4),
        v2(0x21, 0x31, &[0; 216]),
        v2(0x22, 0x11, TCP4),
        v2(0x11, 0x11, TCP4),
        v2(0x31, 0x11, TCP4),
    ] {
        assert_eq!(detect(&bytes), Opening::BadProxy, "{bytes:?}");
    }
}

#[test]
fn version_2_has_a_longest_header() {
    let longest = v2(0x20, 0, &[0; PROXY_V2_BYTES_MAX - 16]);
    assert!(matches!(detect(&longest), Opening::Proxy(_)));
    assert_eq!(detect(&longest[..16]), Opening::NeedMore);
    let longer = v2(0x20, 0, &[0; PROXY_V2_BYTES_MAX - 15]);
    assert_eq!(detect(&longer[..16]), Opening::BadProxy);
}
