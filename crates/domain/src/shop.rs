//! Shop events and the patterns in their sessions.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A page was looked at.
    Navigation,
    /// A purchase.
    Achat,
    /// A search.
    Recherche,
    /// A login.
    Connexion,
    /// A logout.
    Deconnexion,
    /// Something was put into the cart.
    Panier,
    /// A comment.
    Commentaire,
}

impl EventType {
    /// All of them, in the order of the definition.
    pub const ALL: [Self; 7] = [
        Self::Navigation,
        Self::Achat,
        Self::Recherche,
        Self::Connexion,
        Self::Deconnexion,
        Self::Panier,
        Self::Commentaire,
    ];

    /// As it is spelt on the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Navigation => "navigation",
            Self::Achat => "achat",
            Self::Recherche => "recherche",
            Self::Connexion => "connexion",
            Self::Deconnexion => "deconnexion",
            Self::Panier => "panier",
            Self::Commentaire => "commentaire",
        }
    }
}

/// One shop event, as on `evenements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShopEvent {
    /// ISO 8601.
    pub timestamp: String,
    /// Who.
    pub user_id: String,
    /// What.
    pub event_type: EventType,
    /// In which session.
    pub session_id: String,
    /// `navigation`: the page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub page: Option<String>,
    /// `achat`: the product.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub product: Option<String>,
    /// `achat`: the price in EUR.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub price: Option<f64>,
    /// `recherche`: the words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub query: Option<String>,
    /// `panier`: what is in the cart.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub products: Option<Vec<String>>,
    /// `commentaire`: the words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
}

/// A pattern of a session.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Pattern {
    /// navigation, then panier, then achat.
    ParcoursComplet,
    /// panier, and no achat until the session ends.
    PanierAbandonne,
    /// At least the configured number of recherche.
    ChercheurIntensif,
}

impl Pattern {
    /// As it is spelt on the topic.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParcoursComplet => "PARCOURS_COMPLET",
            Self::PanierAbandonne => "PANIER_ABANDONNE",
            Self::ChercheurIntensif => "CHERCHEUR_INTENSIF",
        }
    }
}

/// A pattern found in a session, as on `session-patterns`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SessionPattern {
    /// `session_id/pattern`: a session shows a pattern at most once.
    pub id: String,
    /// The session.
    pub session_id: String,
    /// Who.
    pub user_id: String,
    /// Which.
    pub pattern: Pattern,
    /// First event of the session so far, ms since the epoch.
    pub session_start: i64,
    /// The event (or the end of the session) that made the pattern, ms since the epoch.
    pub at: i64,
    /// Events of the session so far.
    pub events: u32,
}
