"""What an article is about: one of the thirteen topics of Beyond Vision's released code, by keywords of our own."""

from __future__ import annotations

import re

GENERAL = "general"
# Of equally many words, the earlier topic.
_KEYWORDS = {
    "technology": """
        algorithm, app, chip, computer, cyber, device, digital, internet, robot, satellite, smartphone,
        software, startup, artificial intelligence, social network
    """,
    "business": """
        bank, billion, company, economy, factory, inflation, investor, market, merger, profit, revenue,
        shareholder, stock, tax, trade, chief executive
    """,
    "politics": """
        campaign, congress, democrat, election, government, lawmaker, minister, parliament, party, policy,
        president, republican, senate, vote, voter, prime minister, white house
    """,
    "sports": """
        championship, coach, cricket, fan, football, goal, league, match, medal, olympic, player, stadium,
        team, tennis, tournament, cup final, world cup
    """,
    "health": """
        cancer, disease, doctor, drug, epidemic, hospital, medical, nurse, pandemic, patient, surgery,
        treatment, vaccine, virus, public health
    """,
    "environment": """
        carbon, climate, conservation, drought, emission, flood, forest, glacier, hurricane, ocean,
        pollution, species, storm, wildfire, wildlife, global warming
    """,
    "entertainment": """
        actor, actress, album, band, celebrity, concert, director, festival, film, movie, music, singer,
        television, theatre, red carpet
    """,
    "science": """
        astronaut, discovery, experiment, fossil, genetic, laboratory, mission, physics, planet, research,
        researcher, scientist, space, study, telescope
    """,
    "education": """
        campus, classroom, college, curriculum, degree, exam, professor, pupil, scholarship, school,
        student, teacher, tuition, university
    """,
    "social issues": """
        activist, demonstrator, discrimination, equality, gender, homeless, inequality, justice, migrant,
        police, poverty, protest, racism, refugee, rights
    """,
    "world affairs": """
        ambassador, border, ceasefire, conflict, diplomat, embassy, invasion, military, missile, nato,
        sanction, summit, treaty, troop, war, peace talks, united nations
    """,
    "food": """
        bakery, chef, cook, cuisine, diet, dinner, dish, farmer, ingredient, kitchen, meal, recipe,
        restaurant, wine, street food
    """,
    "travel": """
        airline, airport, beach, cruise, destination, flight, holiday, hotel, luggage, passenger, resort,
        tourism, tourist, traveller, visa
    """,
}


def topic_of(text: str) -> str:
    """The topic with the most different keywords in the text, as whole words, plurals too; `general` without any.

    The released code counts keywords anywhere in the text, "war" in "award" too.
    """
    lowered = text.casefold()
    found = {topic: len(set(pattern.findall(lowered))) for topic, pattern in _PATTERNS.items()}
    best = max(found, key=found.__getitem__)  # the first of the most
    return best if found[best] else GENERAL


def _pattern(keywords: str) -> re.Pattern[str]:
    words = "|".join(" ".join(word.split()) for word in keywords.split(","))
    return re.compile(rf"\b({words})(?:s|es)?\b")


_PATTERNS = {topic: _pattern(keywords) for topic, keywords in _KEYWORDS.items()}
