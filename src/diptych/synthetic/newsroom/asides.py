"""Sentences that are true of an event's town, people and day, and that no caption needs, in groups by subject.

Slots beyond those of `kinds`: `{occasion}`, `{adjective}`, `{population}`, `{founded}`, `{newspaper}`, `{known_for}`,
`{street}`, `{witness}`, `{witness_last}`, `{witness_age}`, `{witness_job}`, `{main_age}`, `{main_home}`, `{main_job}`,
`{main_hobby}`, the same for `{second_...}`, `{some}` (a small number in words), `{weekday}` and `{weather}`.
"""

from __future__ import annotations

TOWN = (
    "{city} [is known for|owes its name in the region to] {known_for}.",
    "The town [was founded|received its charter] in {founded}.",
    "[About|Some] {population} people live [there|in {city}], [fewer than a generation ago|and the number is growing].",
    "The {river} [divides the town into two unequal halves|makes a wide bend before it reaches the centre].",
    "[Visitors|Travellers] usually [arrive|come] by bus and leave [before dark|with a bag of sweets].",
    "{street}, where the [bakers|saddlers] used to have their shops, [is closed to cars|has been repaved].",
    "On market days the stalls [reach|extend] [as far as {street}|down to the river].",
    "The town hall burned down twice and was [rebuilt both times|put up again in brick].",
    "A [local proverb|saying] has it that [the clocks of {city} are never wrong together|nobody leaves {city} dry].",
    "The {adjective} writer who spent a winter here [complained about the bells|praised only the soup].",
    "Most [families|households] still [have a cousin at the cannery|keep a boat or at least an oar].",
    "The library, [in a former granary|above the savings bank], opens at [nine|ten].",
)
WEATHER = (
    "The day [began|started] [{weather}|{weather}, as the forecast had promised].",
    "By [noon|the early afternoon] the wind had [dropped|turned to the west].",
    "[Pigeons|Sparrows] [searched for crumbs|sat in a row] under the eaves, [unimpressed|as on any other {weekday}].",
    "The [puddles|pavements] of the night before had [dried|not quite dried].",
    "Somebody had left a [red umbrella|folding chair] at the kerb, and nobody [claimed it|took it away].",
    "The smell of [coffee|fresh paint|cut grass] hung over {street}.",
    "Towards evening [a thin moon|the first star] stood over the roofs.",
)
WITNESS = (
    "{witness}, {witness_age}, had [come down from the third floor|walked over from {street}] to look.",
    "[The|A former] neighbour, who [used to be|once worked as] {witness_job}, [leaned on a rail|had brought tea].",
    '"I [only|just] wanted to buy [bread|stamps]," said {witness_last}.',
    '"You do not get this every {weekday}," {witness_last} said.',
    "{witness_last} has lived in {city} for [{some} years|longer than the lime trees in the square].",
    "{witness_last}'s [dog|grandson] [lost interest after a while|wanted to go home].",
    "A [girl|boy] of {some} [asked whether there would be ice cream|held on to a paper boat].",
    "Two [retired sailors|former colleagues] [argued about the tide tables|shared a bench and a newspaper].",
    "A [taxi driver|courier] [stopped in the middle of the road to look|took a photograph through the windscreen].",
)
MAIN_PERSON = (
    "{main_last}, who is {main_age}, [was born in|comes from|grew up in] {main_home}.",
    "Before that {main_last} worked as {main_job}.",
    "In [private|the little spare time left], {main_last} is fond of {main_hobby}.",
    "{main_last} [rarely gives interviews|is said to answer letters by hand].",
    "Those who have known {main_last} for long speak of [patience|a dry sense of humour|a good memory for names].",
    "{main_last} arrived [on foot|by bicycle|in a borrowed car] and [left the same way|stayed longer than planned].",
    "A [cold|hoarse voice] did not keep {main_last} [at home|from talking to everybody].",
    "There had been rumours that {main_last} would [stay away|not come]; [they were wrong|they came to nothing].",
)
SECOND_PERSON = (
    "{second_last}, {second_age}, [lives|has lived for years] in {second_home}.",
    "{second_last} once earned a living as {second_job}.",
    "Friends of {second_last} know another side: {second_hobby}.",
    "{second_last} kept [a notebook|a list] of everything that [could go wrong|had to be done].",
    "[Asked|When asked] about the future, {second_last} [shrugged|only smiled].",
    "{second_last} had slept [badly|{some} hours] the night before.",
)
PRESS = (
    "The {newspaper} [devoted|gave] its whole front page to the {occasion}.",
    "A [radio|television] crew had [set up on a balcony|parked in front of the chemist's].",
    "The [editor|sports desk] of the {newspaper} [received|counted] {some} letters about it [in a day|by the evening].",
    "[Photographs|Pictures] of the {occasion} were [shared|passed round] within the hour.",
    "A [reporter|photographer] [dropped a lens cap, which rolled away|had to stand on a crate].",
    "The [column|leader] on page two asked [what the founders would have said|for a little more calm].",
    "The archive of the {newspaper} has [nothing|little] [comparable|like it] on file.",
)
REACTIONS = (
    "[Opinions|Views] in the town are [divided|not unanimous].",
    "Some [grumble|complain] about the noise, others [say that it was about time|have opened their windows].",
    "At the hairdresser's there was [no other subject|only one subject] all week.",
    "The council [will discuss|is going to debate] the matter [behind closed doors|at its next sitting].",
    "An [opposition|independent] councillor [called for|demanded] more [benches|openness] and was applauded.",
    "The [parish priest|head teacher] [rang the bell|spoke of it in front of the classes].",
    "The bakery sold [twice as many buns as usual|everything by eleven].",
    "[Hotels|Guest houses] in the area [were full|had no rooms left].",
    "A [retired judge|schoolteacher] wrote a poem about it, [which rhymes|in {some} verses].",
    "[Neighbouring towns|The villages around] [followed it with interest|sent their greetings].",
    "Not everyone [noticed|cared]: the chess club met [as usual|as it does every {weekday}].",
)
LOGISTICS = (
    "Parking was [forbidden|not allowed] along {street} [until the evening|for two days].",
    "The bus stop had been moved [by a hundred metres|around the corner].",
    "[Stewards|Helpers] in yellow vests [showed people the way|had little to do].",
    "The first-aid post treated [a sprained ankle|two bee stings|a nosebleed].",
    "A lost child was found after {some} minutes, [eating an apple|asleep under a table].",
    "The street sweepers [had a late night|started at five].",
    "Mobile phones [had no signal|worked only] near the fountain.",
    "The cables had been laid [under rubber mats|along the hedges], so that nobody would trip.",
    "A borrowed generator [hummed in a side street|ran until midnight].",
    "Dogs [had to be kept on a lead|were not allowed beyond the fence|could be left with a helper].",
)
HISTORY = (
    "Old photographs [show|prove] how much the place has changed since the [trams|horse carts] disappeared.",
    "In [former|earlier] times the site was [a rope walk|a cattle market|an orchard].",
    "A plaque, [hardly legible|half hidden by ivy], [recalls|commemorates] a visit by a queen.",
    "The cellars [underneath|nearby] are said to have [hidden smugglers|stored ice from the hills].",
    "A historian from {main_home} has [written three volumes|given a talk] about the quarter.",
    "[Nothing|Hardly anything] is left of the wall that once [surrounded|protected] {city}.",
    "An old map in the town hall [shows a pond|marks a gallows] at the very spot.",
)
OUTLOOK = (
    "[A report|A detailed account] is to [follow|be published] [in the spring|before the summer break].",
    "On [Monday|Thursday] the [schools|offices] will [open|be open] as usual.",
    "The next [council meeting|sitting of the council] is [public|on a Wednesday|in a fortnight].",
    "[Anyone with|Whoever has] questions can [call the town hall|write to the town clerk].",
    "By then, [the chestnuts will be in bloom|the chairs will be back in the cellar|the days will be longer].",
    "The [lights|lamps] on {street} went out at [eleven|midnight], as always.",
    "It is unlikely to be the last time that {city} is in the news.",
    "For the moment, [the town|{city}] [goes on with its day|returns to its own affairs].",
)
MIDDLE_GROUPS = (TOWN, WEATHER, WITNESS, MAIN_PERSON, SECOND_PERSON, PRESS, REACTIONS, LOGISTICS, HISTORY)
WEATHERS = (
    "grey and mild", "with fog over the river", "bright and cold", "with a light drizzle", "warm and still",
    "windy", "with low clouds", "clear after a night of rain", "hazy",
)  # fmt: skip
