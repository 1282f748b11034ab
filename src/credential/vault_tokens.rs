//! A credential's tokens for the readers of secrets from a vault: the same cache entry, so the same token, that flows would get.
//!
//! In: a [`TokenCacheEntry`] whose audience is the vault's. Out: [`Tokens`], as [`crate::vault`] asks for them. A token the vault refused is
//! renewed under the cache entry's own limits.

use std::pin::Pin;
use std::sync::Arc;

use super::Token;
use super::token_cache_entry::TokenCacheEntry;
use crate::diagnosis::Reason;
use crate::vault::{Tokens, VaultToken};

/// A cache entry's tokens, for a reader of a vault.
pub struct VaultTokenProvider(pub Arc<TokenCacheEntry>);

impl Tokens for VaultTokenProvider {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<VaultToken, Reason>> + Send + '_>> {
        Box::pin(async {
            let token = self.0.token().await.map_err(|failure| failure.reason())?;
            Ok(VaultToken {
                authorization: token.authorization.clone(),
                expires: token.expires,
                generation: token.generation,
            })
        })
    }

    fn refused(&self, lent: &VaultToken) {
        let token = Token {
            authorization: lent.authorization.clone(),
            generation: lent.generation,
            expires: lent.expires,
            claims: None,
        };
        let entry = Arc::clone(&self.0);
        // Nobody waits for it: the next read finds the new token.
        tokio::spawn(async move {
            let _ = entry.renewed(&token, None).await;
        });
    }
}
