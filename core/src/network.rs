//! Ranges of addresses.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A range of addresses, `10.0.0.0/8` or `2001:db8::/32`; a single address
/// stands for itself. An IPv4 address in IPv6 form is taken as IPv4. Bits behind
/// the prefix are 0.
///
/// ```
/// use tautline_core::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.9.8.7".parse()?));
/// assert!(!network.contains("11.0.0.1".parse()?));
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// The network that an address is in, by the bits of its prefix; `None` if
    /// there are more of them than the address has.
    pub const fn of(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let (address, prefix_bits) = match (address.to_canonical(), address) {
            (IpAddr::V4(_), IpAddr::V6(_)) if prefix_bits < 96 => (address, prefix_bits),
            (canonical @ IpAddr::V4(_), IpAddr::V6(_)) => (canonical, prefix_bits - 96),
            _ => (address, prefix_bits),
        };
        let address = match address {
            IpAddr::V4(_) if prefix_bits > 32 => return None,
            IpAddr::V6(_) if prefix_bits > 128 => return None,
            IpAddr::V4(own) => {
                let mask = !u32::MAX.unbounded_shr(prefix_bits as u32);
                IpAddr::V4(Ipv4Addr::from_bits(own.to_bits() & mask))
            }
            IpAddr::V6(own) => {
                let mask = !u128::MAX.unbounded_shr(prefix_bits as u32);
                IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() & mask))
            }
        };
        Some(Self {
            address,
            prefix_bits,
        })
    }

    /// The network of this one address.
    pub const fn single(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix_bits = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            prefix_bits,
        }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        Self::of(address.to_canonical(), self.prefix_bits) == Some(*self)
    }

    /// The first address of the range.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits the addresses of the range have in common.
    pub const fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

/// A text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseNetworkError(String);

impl fmt::Display for ParseNetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an address or a range of addresses such as 10.0.0.0/8",
            self.0
        )
    }
}

impl core::error::Error for ParseNetworkError {}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let wrong = || ParseNetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let Some(bits) = bits else {
            return Ok(Self::single(address));
        };
        let prefix_bits = number(bits).ok_or_else(wrong)?;
        Self::of(address, prefix_bits).ok_or_else(wrong)
    }
}

fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_end_where_their_prefix_says() {
        assert!(contains("192.0.2.0/25", "192.0.2.127"));
        assert!(!contains("192.0.2.0/25", "192.0.2.128"));
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(!contains("::/0", "192.0.2.1"));
        assert!(contains("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!contains("127.0.0.1", "127.0.0.2"));
    }

    #[test]
    fn what_is_behind_the_prefix_does_not_count() {
        let text = |text: &str| alloc::format!("{}", text.parse::<Network>().unwrap());
        assert_eq!(text("192.0.2.200/25"), "192.0.2.128/25");
        assert_eq!(text("10.1.2.3/0"), "0.0.0.0/0");
        assert_eq!(text("2001:db8::5/32"), "2001:db8::/32");
        assert_eq!(text("2001:db8::5/128"), "2001:db8::5/128");
        assert_eq!(text("::ffff:10.1.2.3/104"), "10.0.0.0/8");
        assert_eq!(text("::ffff:10.1.2.3/95"), "::fffe:0:0/95");
        assert_eq!(text("10.1.2.3"), "10.1.2.3/32");
        assert_eq!(Network::of([10, 0, 0, 1].into(), 33), None);
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0/8",
            "a/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
