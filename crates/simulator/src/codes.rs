//! Which sign-ins in a browser are under way?
//!
//! Authorization codes wait for their redemption, device codes for a person. A code lives ten minutes and is good once (facts B1.9); a
//! device code lives fifteen and is asked after every five seconds (B1.10). Times are the simulator's clock's.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::random;
use crate::sessions::SignIn;

/// Seconds.
const CODE_LIFE: u64 = 600;
/// Seconds.
pub(crate) const DEVICE_LIFE: u64 = 900;
/// Seconds between two questions of a device.
pub(crate) const INTERVAL: u64 = 5;

/// Who signs in, in place of a person at the keyboard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Person {
    /// A real one: the page is shown, the device waits.
    #[default]
    AtTheKeyboard,
    /// This user (object id or user principal name), at once and with a second factor.
    User(String),
    /// Somebody who declines.
    Declines,
}

/// An authorization code's other side.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) sign_in: SignIn,
    pub(crate) redirect: String,
    pub(crate) challenge: Option<String>,
    issued: u64,
    used: bool,
}

/// The state of a device's sign-in.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) tenant: String,
    pub(crate) client: String,
    pub(crate) asked: String,
    pub(crate) user_code: String,
    /// Object id or name.
    pub(crate) user: Option<String>,
    pub(crate) declined: bool,
    pub(crate) expires: u64,
    polled: Option<u64>,
}

/// Why a code is no good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    Unknown,
    Expired,
    Used,
    TooFast,
}

#[derive(Default)]
pub(crate) struct Codes(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    person: Person,
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
}

impl Codes {
    pub(crate) fn set_person(&self, person: Person) {
        self.inner().person = person;
    }

    pub(crate) fn person(&self) -> Person {
        self.inner().person.clone()
    }

    pub(crate) fn put(
        &self,
        sign_in: SignIn,
        redirect: &str,
        challenge: Option<String>,
        now: u64,
    ) -> String {
        let code = format!("1.{}.{}", random::secret(), random::secret());
        let entry = Code {
            sign_in,
            redirect: redirect.into(),
            challenge,
            issued: now,
            used: false,
        };
        self.inner().codes.insert(code.clone(), entry);
        code
    }

    pub(crate) fn look(&self, code: &str, now: u64) -> Result<Code, Bad> {
        let inner = self.inner();
        let known = inner.codes.get(code).ok_or(Bad::Unknown)?;
        if known.used {
            Err(Bad::Used)
        } else if now.saturating_sub(known.issued) >= CODE_LIFE {
            Err(Bad::Expired)
        } else {
            Ok(known.clone())
        }
    }

    /// Spends the code; false if somebody else was first.
    pub(crate) fn spend(&self, code: &str) -> bool {
        let mut inner = self.inner();
        inner
            .codes
            .get_mut(code)
            .is_some_and(|known| !std::mem::replace(&mut known.used, true))
    }

    /// Begins a device's sign-in: its device code and its user code.
    pub(crate) fn begin(
        &self,
        tenant: &str,
        client: &str,
        asked: &str,
        now: u64,
    ) -> (String, String) {
        let mut inner = self.inner();
        let (device, user_code) = (random::secret(), random::digits(9));
        let entry = Device {
            tenant: tenant.into(),
            client: client.into(),
            asked: asked.into(),
            user_code: user_code.clone(),
            user: match &inner.person {
                Person::User(name) => Some(name.clone()),
                Person::AtTheKeyboard | Person::Declines => None,
            },
            declined: inner.person == Person::Declines,
            expires: now.saturating_add(DEVICE_LIFE),
            polled: None,
        };
        inner.devices.insert(device.clone(), entry);
        (device, user_code)
    }

    /// A device asks for the state of its sign-in.
    pub(crate) fn poll(&self, code: &str, now: u64) -> Result<Device, Bad> {
        let mut inner = self.inner();
        let known = inner.devices.get_mut(code).ok_or(Bad::Unknown)?;
        let fast = known
            .polled
            .is_some_and(|last| now.saturating_sub(last) < INTERVAL);
        known.polled = Some(now);
        if now >= known.expires {
            Err(Bad::Expired)
        } else if fast && known.user.is_none() && !known.declined {
            Err(Bad::TooFast)
        } else {
            Ok(known.clone())
        }
    }

    pub(crate) fn device_tenant(&self, code: &str) -> Option<String> {
        self.inner()
            .devices
            .get(code)
            .map(|known| known.tenant.clone())
    }

    pub(crate) fn code_tenant(&self, code: &str) -> Option<String> {
        self.inner()
            .codes
            .get(code)
            .map(|known| known.sign_in.tenant.clone())
    }

    /// Ends a device's sign-in; without a user it is declined. False if no device shows that user code.
    pub(crate) fn finish(&self, user_code: &str, user: Option<&str>) -> bool {
        let mut inner = self.inner();
        let found = inner
            .devices
            .values_mut()
            .find(|known| known.user_code == user_code);
        if let Some(known) = found {
            known.declined = user.is_none();
            known.user = user.map(ToOwned::to_owned);
            return true;
        }
        false
    }

    /// The tenant of the device that shows that user code.
    pub(crate) fn shown(&self, user_code: &str) -> Option<String> {
        let inner = self.inner();
        let found = inner
            .devices
            .values()
            .find(|known| known.user_code == user_code);
        found.map(|known| known.tenant.clone())
    }

    /// Forgets a device's sign-in, which got its tokens.
    pub(crate) fn forget(&self, code: &str) {
        self.inner().devices.remove(code);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
