//! Where do the simulator's fresh values come from?
//!
//! Out: bytes, GUIDs, digits and URL-safe text from the system's generator, new at every start, so that nothing a simulator
//! issued is worth anything to another process (security rule 25).

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `N` fresh bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Fails only where the system has no entropy source; key generation has already failed there.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// A random GUID (version 4) in lower case.
pub(crate) fn guid() -> String {
    let id = uuid::Builder::from_random_bytes(bytes());
    id.into_uuid().to_string()
}

/// `count` decimal digits.
pub(crate) fn digits(count: usize) -> String {
    (0..count)
        .map(|_| char::from(b'0' + bytes::<1>()[0] % 10))
        .collect()
}

/// 43 base64url characters: the shape of a trigger's `sig` (facts A1.5), and a good client secret.
pub(crate) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
