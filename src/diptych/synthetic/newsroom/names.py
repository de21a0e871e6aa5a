"""Invented names of people and towns, in three sounds, so that a name and its country go together.

Towns and people are combinations of parts; the countries alone are real. Any likeness is chance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Country:
    """A country, how its people are called as an adjective, and the money that costs are told in."""

    name: str
    adjective: str
    currency: str


@dataclass(frozen=True, slots=True)
class Culture:
    """Parts of names that go together; a town is one start and one end, a person one given and one family name."""

    given: tuple[str, ...]
    family: tuple[str, ...]
    town_starts: tuple[str, ...]
    town_ends: tuple[str, ...]
    countries: tuple[Country, ...]


def split_words(text: str) -> tuple[str, ...]:
    """The words between blanks."""
    return tuple(text.split())


NORDIC = Culture(
    given=split_words(
        "Aksel Astrid Birger Dagny Eivind Embla Fredrik Gerda Gunnar Hedda Henning Ingrid Ivar Jorunn Kjell Liv "
        "Magnus Maren Nils Oda Oskar Petra Ragnar Rakel Sigrid Sindre Solveig Tora Torsten Vilde"
    ),
    family=split_words(
        "Aasland Bergvik Brandal Dahlgaard Ekelund Falkenberg Fossheim Granlid Haugstad Heimdal Hellevik Holmsen "
        "Isaksen Kaldestad Kverneland Lindqvist Lundby Myhre Nordahl Oppegaard Ravnsborg Rustad Sandvold Selmer "
        "Skarstein Solberget Stavnes Steinvik Sundgaard Tangerud Thorvald Tveitan Ulvestad Vestergren Vinje Ystad"
    ),
    town_starts=split_words(
        "Aske Birke Brat Dals Elgs Fager Grims Hall Hes Kvern Lin Mar Nes Ors Rav Sels Skar Sol Stav Tors Ul Var"
    ),
    town_ends=split_words("berg bygda fjord havn holm lund nes vik strand sund"),
    countries=(
        Country("Norway", "Norwegian", "kroner"),
        Country("Sweden", "Swedish", "kronor"),
        Country("Denmark", "Danish", "kroner"),
    ),
)
ANGLO = Culture(
    given=split_words(
        "Adrian Alice Bridget Callum Clara Colin Declan Edith Esther Fergus Graham Hannah Harriet Hugh Imogen Joan "
        "Keith Leonard Lorna Malcolm Maeve Nora Owen Phoebe Ronan Rosalind Stuart Tamsin Vernon Winifred"
    ),
    family=split_words(
        "Abernall Ashdown Barrowby Blakemoor Calderwick Carrow Corrigan Dunmore Eastlake Fairburn Fenwick Garside "
        "Gilroy Hartnell Hawkridge Inchmore Kellaway Kirkbride Langstaff Lorimer Marchbank Merriman Netherby Oakshott "
        "Pemberley Quillan Rathbone Rooke Sallow Strachan Tarleton Thackley Underhill Wainscott Whitlock Yarrow"
    ),
    town_starts=split_words(
        "Alder Ash Black Brack Coln Dun East Fern Glen Hazel Inver Kel Lang Mar Nor Pen Raven Stan Thorn Wes Whit Yar"
    ),
    town_ends=split_words("borough bridge bury combe field ford haven mouth stead wick"),
    countries=(
        Country("Ireland", "Irish", "euros"),
        Country("Canada", "Canadian", "dollars"),
        Country("New Zealand", "New Zealand", "dollars"),
    ),
)
IBERIAN = Culture(
    given=split_words(
        "Alonso Amaia Anselmo Beatriz Benita Catarina Celso Damaso Elvira Esteban Fabiola Gonzalo Graciela Hilario "
        "Ines Isidro Jacinta Joaquim Leandro Luciana Marcelo Marisol Nuno Otilia Paloma Ramiro Rosalba Severino "
        "Teodora Valeria"
    ),
    family=split_words(
        "Abrantes Alcaraz Almeria Azevedo Barrada Belmonte Caldeira Carvalhal Cienfuegos Cordovil Escudero Figueral "
        "Fonseca Galindo Herrera Infante Jimeno Lacerda Ledesma Lobato Machuca Mendoza Montalvo Navarrete Olivares "
        "Palmeiro Quintal Revilla Saavedra Salgado Sepulveda Tavares Urrutia Valdivia Villalobos Zambrano"
    ),
    town_starts=split_words(
        "Alba Almo Alto Arco Bela Cala Casta Cerro Corta Espi Flore Guada Lago Monte Nava Pena Quinta Ribe Sala Torre "
        "Valde Vila"
    ),
    town_ends=split_words("bar cal dera gosa jara mar mera nosa ral vedo"),
    countries=(
        Country("Portugal", "Portuguese", "euros"),
        Country("Chile", "Chilean", "pesos"),
        Country("Argentina", "Argentine", "pesos"),
    ),
)
CULTURES = (NORDIC, ANGLO, IBERIAN)


class NamePool:
    """Hands out names of one culture in a seeded order, each only once."""

    def __init__(self, culture: Culture, rng: np.random.Generator) -> None:
        self.culture = culture
        self._people = _shuffled([f"{given} {family}" for given in culture.given for family in culture.family], rng)
        starts_and_ends = [(start, end) for start in culture.town_starts for end in culture.town_ends]
        self._towns = _shuffled([start + end for start, end in starts_and_ends if start[-1] != end[0]], rng)

    def person(self, taken: Collection[str] = ()) -> str:
        """A full name that nobody has yet, with a family name that is not among the taken ones.

        Raises:
            ValueError: all names are taken.
        """
        free = (index for index, name in enumerate(self._people) if name.rsplit(" ", 1)[1] not in taken)
        return _take(self._people, next(free, None), "people")

    def town(self) -> str:
        """The name of a town that is not there yet.

        Raises:
            ValueError: all names are taken.
        """
        return _take(self._towns, 0 if self._towns else None, "towns")


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.permutation(len(names)).tolist()]


def _take(names: list[str], index: int | None, what: str) -> str:
    if index is None:
        raise ValueError(f"the names of {what} are used up: ask for a newsroom set of fewer families")
    return names.pop(index)
