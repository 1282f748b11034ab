//! Where a person signs in.

use url::Url;

/// Where a person signs in. `None`: not known for this provider.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Endpoints {
    /// The authorization endpoint.
    pub authorize: Option<Url>,
    /// The device authorization endpoint.
    pub device: Option<Url>,
}
