//! When may a certificate be used?
//!
//! In: a certificate, DER. Out: its two times, in Unix seconds. Who issued it and what for is not looked at.

/// When a certificate may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before, in Unix seconds.
    pub from: u64,
    /// Not after, in Unix seconds.
    pub until: u64,
}

impl Validity {
    /// Of a certificate; `None` when it cannot be read or has ended before 1970.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
        let validity = certificate.validity();
        Some(Self {
            // Before 1970 is always past.
            from: u64::try_from(validity.not_before.timestamp()).unwrap_or_default(),
            until: u64::try_from(validity.not_after.timestamp()).ok()?,
        })
    }

    /// Whether it may be used at this time.
    #[must_use]
    pub const fn at(&self, now: u64) -> bool {
        self.from <= now && now <= self.until
    }
}

#[cfg(test)]
mod tests {
    use super::Validity;

    #[test]
    fn a_certificates_validity_is_read_to_the_second() {
        let mut wanted = rcgen::CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        wanted.not_before = rcgen::date_time_ymd(2030, 1, 1);
        wanted.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = wanted.self_signed(&key).unwrap();
        let valid = Validity::of(certificate.der()).unwrap();
        assert_eq!((valid.from, valid.until), (1_893_456_000, 1_893_542_400));
        assert!(valid.at(valid.from) && valid.at(valid.until));
        assert!(!valid.at(valid.from - 1) && !valid.at(valid.until + 1));
        assert_eq!(Validity::of(b"none"), None);
    }
}
