//! What makes the store's file worthless to others and to other credentials.
//!
//! In: the 32-byte key and what the store belongs to. Out: sealed bytes and back: AES-256-GCM, with everything before the nonce as associated
//! data (security rule 24). The head says, in digests that reveal nothing, with which key and for whom the file was made, so that a
//! wrong key, another credential's file and damage are distinguished. Refuses everything that is not exactly what was written.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::error::StoreError;
use crate::secret::Secret;

/// The first bytes of every store; the last of them is the format's version.
const MAGIC: [u8; 8] = *b"flowgrt\x01";
const KEY_ID: usize = 8;
const BINDING: usize = 32;
const LENGTH: usize = 4;
const HEAD: usize = MAGIC.len() + KEY_ID + BINDING + LENGTH;
const NONCE: usize = 12;
const TAG: usize = 16;

/// With or without padding, as `openssl rand -base64 32` and others print it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The store's key. No `Debug`.
pub struct Key([u8; 32]);

impl Key {
    /// From 64 hexadecimal digits or the Base64 of 32 bytes.
    #[must_use]
    pub fn parse(text: &Secret<String>) -> Option<Self> {
        let text = text.expose().trim();
        let bytes = if text.len() == 64 {
            unhex(text.as_bytes())?
        } else {
            BASE64.decode(text).ok()?
        };
        // A key of zeros is an example that somebody copied.
        let bytes: [u8; 32] = bytes.try_into().ok()?;
        (bytes != [0; 32]).then_some(Self(bytes))
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Whose a store is: nothing but this very credential reads it.
pub struct Owner<'a> {
    /// The credential's configured name.
    pub credential: &'a str,
    /// The token endpoint, the tenant in it.
    pub token_url: &'a str,
    /// The application.
    pub client_id: &'a str,
    /// What it was configured to ask for; empty where the flows say it.
    pub scope: &'a str,
}

/// Seals and opens one credential's store.
pub struct Seal {
    key: RandomizedNonceKey,
    /// The head but for its last part, the length.
    head: [u8; HEAD - LENGTH],
}

impl Seal {
    /// For this key and owner.
    pub fn new(key: &Key, owner: &Owner<'_>) -> Result<Self, StoreError> {
        let mut id = digest::Context::new(&digest::SHA256);
        id.update(b"flowgate refresh token store: key id");
        id.update(&key.0);
        let Owner {
            credential,
            token_url,
            client_id,
            scope,
        } = owner;
        let mut binding = digest::Context::new(&digest::SHA256);
        for part in [credential, token_url, client_id, scope] {
            // With its length, so that no two owners run together into one.
            binding.update(&part.len().to_be_bytes());
            binding.update(part.as_bytes());
        }
        let mut head = [0; HEAD - LENGTH];
        let (id, binding) = (id.finish(), binding.finish());
        let parts = MAGIC
            .into_iter()
            .chain(id.as_ref().iter().copied().take(KEY_ID))
            .chain(binding.as_ref().iter().copied());
        for (place, byte) in head.iter_mut().zip(parts) {
            *place = byte;
        }
        Ok(Self {
            key: RandomizedNonceKey::new(&AES_256_GCM, &key.0).map_err(|_| StoreError::Crypto)?,
            head,
        })
    }

    /// The file's bytes.
    pub fn seal(&self, text: Secret<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        let mut sealed = text.expose().clone();
        drop(text);
        let length = u32::try_from(sealed.len()).map_err(|_| StoreError::Crypto)?;
        let mut bytes = self.head.to_vec();
        bytes.extend(length.to_be_bytes());
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(&bytes), &mut sealed)
            .map_err(|_| StoreError::Crypto)?;
        bytes.extend(nonce.as_ref());
        bytes.extend(sealed);
        Ok(bytes)
    }

    /// What was sealed, or in which way it is not ours.
    pub fn open(&self, bytes: &[u8]) -> Result<Secret<Vec<u8>>, StoreError> {
        let (magic, rest) = split(bytes, MAGIC.len())?;
        if magic != MAGIC {
            let same_kind = magic.get(..7) == MAGIC.get(..7);
            return Err(if same_kind {
                StoreError::Format
            } else {
                StoreError::Damaged
            });
        }
        let (id, rest) = split(rest, KEY_ID)?;
        let (binding, rest) = split(rest, BINDING)?;
        let (length, rest) = split(rest, LENGTH)?;
        let (nonce, sealed) = split(rest, NONCE)?;
        let length =
            u32::from_be_bytes(length.try_into().map_err(|_| StoreError::Damaged)?) as usize;
        match sealed.len().checked_sub(TAG) {
            Some(left) if left == length => {}
            Some(left) if left > length => return Err(StoreError::Damaged),
            _ => return Err(StoreError::Truncated),
        }
        let (_, own) = split(&self.head, MAGIC.len())?;
        let (own_id, own_binding) = split(own, KEY_ID)?;
        if id != own_id {
            return Err(StoreError::WrongKey);
        }
        if binding != own_binding {
            return Err(StoreError::Foreign);
        }
        let head = bytes.get(..HEAD).ok_or(StoreError::Truncated)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| StoreError::Damaged)?;
        let mut text = sealed.to_vec();
        self.key
            .open_in_place(nonce, Aad::from(head), &mut text)
            .map_err(|_| StoreError::Damaged)?;
        text.truncate(length);
        Ok(Secret::new(text))
    }
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), StoreError> {
    bytes.split_at_checked(at).ok_or(StoreError::Truncated)
}
