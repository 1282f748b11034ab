//! Putting what a sign-in gave where the gateway finds it.
//!
//! In: who has signed in, and whether whoever was there before may be replaced. Out: the first record of a new chain, in the file under its
//! lock or in the vault as a new version. Refuses an account other than the one that signed in before, and a store of which nobody can
//! know whose it is (security rule 24).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Error, SignIn, Signed};
use crate::credential::refresh_token::in_vault::{Unusable, VaultLock};
use crate::credential::refresh_token::store::Store;
use crate::credential::refresh_token::{
    INACTIVE, Record, StoreError, StoreLocation, blocking, locked, patience,
};
use crate::vault::{self, Address, Written};

/// How often a write is tried that others get in front of: a gateway renews about once an hour.
const TRIES: u32 = 3;

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Record(error) => Self::Store(error),
            Unusable::Vault(error) => Self::Vault(error),
        }
    }
}

impl SignIn {
    /// Puts the token into the store, unless it holds another account's. `replace`: whoever it was. Returns when it ends if it is
    /// never used, where that is known. May be called again after it failed.
    pub async fn keep(&self, signed: &Signed, replace: bool) -> Result<Option<u64>, Error> {
        match &self.settings.store {
            StoreLocation::File(file) => self.keep_in(Store::new(file), signed, replace).await?,
            StoreLocation::Vault(address) => self.keep_at(address, signed, replace).await?,
        }
        let entra = self.settings.application.entra;
        Ok(entra.then(|| self.context.clock.unix() + INACTIVE.as_secs()))
    }

    async fn keep_in(&self, store: Store, signed: &Signed, replace: bool) -> Result<(), Error> {
        let seal = self.settings.seal(&self.context).await?;
        // A running gateway holds the lock for one renewal at most.
        let patience = patience(self.context.outbound.token_timeout());
        let locked = tokio::time::timeout(patience, locked(&store))
            .await
            .map_err(|_| StoreError::Busy)??;
        let signed = signed.clone();
        let kept = blocking(move || {
            let last = match predecessor(locked.read(&seal), &signed, replace) {
                Ok(last) => last,
                Err(Error::Store(error)) => return Err(error),
                Err(error) => return Ok(Err(error)),
            };
            let sequence = locked.next(last.as_ref());
            locked
                .pending()?
                .write(&signed.record(sequence), &seal)
                .map(Ok)
        });
        kept.await?
    }

    async fn keep_at(
        &self,
        address: &Address,
        signed: &Signed,
        replace: bool,
    ) -> Result<(), Error> {
        let seal = Arc::new(self.settings.seal(&self.context).await?);
        let patience = patience(self.context.outbound.token_timeout());
        let lock = VaultLock::at(address, &seal, &self.context, patience).await?;
        for _ in 0..TRIES {
            let read = match lock.read().await {
                Ok(record) => Ok(record),
                Err(Unusable::Record(error)) => Err(error),
                Err(Unusable::Vault(error)) => return Err(error.into()),
            };
            // An answer of the vault's that never came; a gateway may have renewed since.
            let tried = self.tried.swap(true, Ordering::Relaxed);
            if tried && matches!(&read, Ok(Some(record)) if signed.is_in(record)) {
                return Ok(());
            }
            let last = predecessor(read, signed, replace)?;
            let sequence = last.map_or(0, |last| last.sequence).saturating_add(1);
            match lock.put(&signed.record(sequence)).await? {
                Written::There => return Ok(()),
                // A gateway has renewed in this very moment: what a person has just done comes after.
                Written::Overtaken => {}
            }
        }
        Err(vault::VaultError::Busy.into())
    }

    /// Whether the store can be written, before a person signs in. Of a vault only whether it can be read: there is
    /// no way to ask whether it could be written but to do it. `replace`: whosever it is.
    pub async fn rehearse(&self, replace: bool) -> Result<(), Error> {
        let seal = self.settings.seal(&self.context).await?;
        let patience = patience(self.context.outbound.token_timeout());
        match &self.settings.store {
            StoreLocation::File(file) => {
                let store = Store::new(file);
                let locked = tokio::time::timeout(patience, locked(&store))
                    .await
                    .map_err(|_| StoreError::Busy)??;
                let rehearsed = blocking(move || {
                    if let Err(error) = locked.read(&seal)
                        && let refused @ Err(_) = unreadable(error, replace)
                    {
                        return Ok(refused);
                    }
                    locked.pending().map(|_| Ok(()))
                });
                rehearsed.await?
            }
            StoreLocation::Vault(address) => {
                let lock = VaultLock::at(address, &Arc::new(seal), &self.context, patience).await?;
                match lock.read().await {
                    Ok(_) => Ok(()),
                    Err(Unusable::Record(error)) => unreadable(error, replace),
                    Err(Unusable::Vault(error)) => Err(error.into()),
                }
            }
        }
    }
}

/// Whether what cannot be read may be followed, whoever signs in.
fn unreadable(error: StoreError, replace: bool) -> Result<(), Error> {
    match (error.fixed_by_sign_in(), replace) {
        // Its tokens may be used up; whose it was could be read, though not here any more.
        (true, true) => Ok(()),
        (true, false) => Err(Error::Unknown(error)),
        (false, _) => Err(error.into()),
    }
}

/// Whose record this one follows, if it may.
fn predecessor(
    read: Result<Option<Record>, StoreError>,
    signed: &Signed,
    replace: bool,
) -> Result<Option<Record>, Error> {
    match read {
        Ok(Some(record)) if same(&record, signed) => Ok(Some(record)),
        Ok(None) => Ok(None),
        Ok(Some(_)) if replace => Ok(None),
        Ok(Some(_)) => Err(Error::OtherAccount),
        Err(error) => unreadable(error, replace).map(|()| None),
    }
}

/// Two unknown accounts may be two: only a person can say that they are one.
fn same(record: &Record, signed: &Signed) -> bool {
    match (&record.account, &signed.account) {
        (Some(had), Some(got)) => had.same(got),
        _ => false,
    }
}

impl Signed {
    /// Whether this record has come of this sign-in: it is its first one, or what a gateway made of it.
    fn is_in(&self, record: &Record) -> bool {
        record.signed_in == self.at && record.account == self.account
    }

    fn record(&self, sequence: u64) -> Record {
        Record {
            sequence,
            newest: self.refresh.clone(),
            // Of the sign-in before: a person has just replaced it.
            before: None,
            account: self.account.clone(),
            signed_in: self.at,
            last_used: self.at,
        }
    }
}
